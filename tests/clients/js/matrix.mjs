// Runs every test with autobahn-js and wampy.js over each transport and serializer they have.

import { TESTS as CALLS } from './calls.mjs';
import { Cell } from './cell.mjs';
import { Report } from './check.mjs';
import { TESTS as INVOCATIONS } from './invocations.mjs';
import { spread } from './nodes.mjs';
import { TESTS as PERMISSIONS } from './permissions.mjs';
import { TESTS as PUBSUB } from './pubsub.mjs';
import { TESTS as SESSIONS } from './sessions.mjs';

const wanted = process.argv[2] ?? '';
const report = new Report();

for (const cell of Cell.all()) {
  let count = 0;
  for (const test of [...SESSIONS, ...PUBSUB, ...CALLS, ...INVOCATIONS, ...PERMISSIONS]) {
    const name = `${cell.name} ${test.name}`;
    if (!name.includes(wanted) || test.skips?.(cell)) continue;
    count += 1;
    await report.run(name, async () => {
      try {
        spread.begin();
        await test(cell);
        spread.check();
      } finally {
        await cell.close();
      }
    });
  }
  if (count) console.log(`${cell.name}: ${count} tests`);
}
report.close();
