// Figures for people.

export const count = (value) => (known(value) ? Math.round(value).toLocaleString("en") : "–");

// A rate or a large number in three digits, as "12.3 k".
export function short(value) {
    if (!known(value)) return "–";
    return scaled(value, 1000, ["", " k", " M", " G", " T"]);
}

export const rate = (value) => (known(value) ? `${short(value)}/s` : "–");

export function bytes(value) {
    if (!known(value)) return "–";
    return scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
}

export const byteRate = (value) => (known(value) ? `${bytes(value)}/s` : "–");

export const percent = (value) => (known(value) ? `${Math.round(value * 100)} %` : "–");

export function micros(value) {
    if (!known(value)) return "–";
    return scaled(value, 1000, [" µs", " ms", " s"]);
}

// A time span, its two largest units.
export function duration(milliseconds) {
    if (!known(milliseconds)) return "–";
    if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
    let rest = Math.floor(milliseconds / 1000);
    const parts = [];
    for (const [unit, seconds] of [
        ["d", 86400],
        ["h", 3600],
        ["min", 60],
        ["s", 1],
    ]) {
        if (rest >= seconds) parts.push(`${Math.floor(rest / seconds)} ${unit}`);
        rest %= seconds;
    }
    return parts.slice(0, 2).join(" ");
}

// The time of day where the reader is, with the date if that is not today's.
export function time(stamp) {
    const date = new Date(stamp);
    if (Number.isNaN(date.getTime())) return String(stamp);
    const clock = date.toLocaleTimeString("en-GB");
    return date.toDateString() === new Date().toDateString()
        ? clock
        : `${date.toLocaleDateString("sv-SE")} ${clock}`;
}

const known = (value) => typeof value === "number" && Number.isFinite(value);

function scaled(value, step, units) {
    let [scale, place] = [value, 0];
    while (Math.abs(scale) >= step && place + 1 < units.length)
        [scale, place] = [scale / step, place + 1];
    const digits = place === 0 ? (scale < 10 ? 1 : 0) : scale < 10 ? 2 : scale < 100 ? 1 : 0;
    return `${Number(scale.toFixed(digits))}${units[place]}`;
}
