// Silences what autobahn-js says about every closed connection; it must be imported before it.

console.warn = () => {};
