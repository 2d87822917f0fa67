// Runs tests one after the other, says how each went, and counts.

let [passed, failed] = [0, 0];

export async function test(name, run) {
    try {
        await run();
        passed += 1;
        console.log(`ok   ${name}`);
    } catch (error) {
        failed += 1;
        console.log(`FAIL ${name}: ${error.stack ?? error}`);
    }
}

export function equal(found, expected, what = "") {
    const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
    if (one !== other) throw new Error(`${what} ${one} is not ${other}`);
}

export function ok(holds, what) {
    if (!holds) throw new Error(what);
}

// Whether a figure is what was planned, up to a share of it.
export function near(found, planned, share, what) {
    const holds = Math.abs(found - planned) <= planned * share;
    ok(holds, `${what}: ${found}, and ${planned} was planned`);
}

export function end() {
    console.log(`${passed} passed, ${failed} failed`);
    process.exitCode = failed ? 1 : 0;
}
