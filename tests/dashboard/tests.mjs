// All tests of the dashboard; run.sh says with what.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { Browser } from "./browser.mjs";
import { end } from "./check.mjs";
import { testActions } from "./actions.mjs";
import { testFiles } from "./files.mjs";
import { drawForDocs, testLooks } from "./looks.mjs";
import { testLoad } from "./load.mjs";
import { testNames } from "./names.mjs";
import { testNodes } from "./nodes.mjs";
import { testPolling } from "./polling.mjs";
import { testChanges } from "./real.mjs";
import { testQuestions } from "./questions.mjs";
import { testTryIt } from "./try.mjs";

const { ADMIN, CHROMIUM, LOADTEST_BIN, SCRATCH, WAMP } = process.env;
const base = `http://${ADMIN}`;

// Planned figures of the load, and how it is told of them.
const load = { publications: 100, calls: 200, subscribers: 50, idle: 300 };
const flags = [
    "mixed",
    "--url",
    `ws://${WAMP}/ws`,
    "--duration",
    "120s",
    "--quiet",
    "--rate",
    load.publications,
    "--call-rate",
    load.calls,
    "-n",
    load.subscribers,
    "--idle",
    load.idle,
    "--churners",
    0,
];

await testFiles(base);
const generator = spawn(LOADTEST_BIN, flags.map(String), {
    stdio: ["ignore", "ignore", "inherit"],
});
const browser = new Browser(CHROMIUM, `${SCRATCH}/browser`);
try {
    const watching = await browser.page();
    await testLoad(watching, base, load);
    await testLooks(await browser.page(), base);
    await testQuestions(await browser.page(), base);
    await testTryIt(await browser.page(), base);
    await drawForDocs(watching, "Overview", { width: 1100, height: 980 });
    const ended = once(generator, "exit");
    generator.kill("SIGINT");
    await ended;
    await drawForDocs(watching, "Ended", { width: 1360, height: 600, dark: true });
    await testNames(await browser.page(), base);
    await testNodes(await browser.page(), base);
    await testActions(await browser.page(), base);
    await testPolling(await browser.page(), base);
    await testChanges(await browser.page(), base, SCRATCH);
} finally {
    generator.kill();
    await browser.close();
}
end();
