// Progressive call invocations, which wampy.js alone can send and receive, though it announces
// neither: here it does. Each test takes a `Cell`.

import { Cell } from './cell.mjs';
import { check, Queue } from './check.mjs';

const CHUNKS = 'progressive_call_invocations';
const CALLEE = ['call_canceling', 'progressive_call_results', CHUNKS];
export const ANNOUNCED = { caller: [CHUNKS], callee: CALLEE };

/// AP-PCI-01, AP-PCI-10: each chunk has its answer, whatever serializer the callee has.
async function chunksAndPartialResults(cell) {
  const caller = await cell.join({ announce: ANNOUNCED });
  for (const other of Cell.all().filter((candidate) => candidate.isWampy)) {
    const callee = await other.join({ announce: ANNOUNCED });
    const procedure = cell.uri(`chunks.${other.serializer}`);
    await callee.register(procedure, (args, kwargs, details) => {
      const { receive_progress: asked = false, progress = false } = details;
      return { args: [...args, asked], progress };
    });
    const partials = new Queue();
    const onProgress = (partial) => partials.put(partial.args);
    const call = caller.startChunks(procedure, [1], { onProgress });
    check(await partials.get(), [1, true], 'first partial result');
    call.send([2]);
    call.send([3], true);
    check((await call.result).args, [3, true], 'result');
    check(await partials.get(), [2, true], 'second partial result');
    check(partials.length, 0, 'further partial results');
    check((await caller.call(procedure, [4])).args, [4, false], 'plain call');
    await other.close();
  }
}

/// AP-PCI-09: the callee has answered before the last chunk, which then reaches nobody.
async function chunksAfterTheResult(cell) {
  const [callee, caller] = [
    await cell.join({ announce: ANNOUNCED }),
    await cell.join({ announce: ANNOUNCED }),
  ];
  const seen = new Queue();
  await callee.register(cell.uri('early'), (args) => {
    seen.put(args);
    return { args: ['enough'] };
  });
  const call = caller.startChunks(cell.uri('early'), [1]);
  check((await call.result).args, ['enough']);
  call.send([2]);
  call.send([3], true);
  check((await caller.call(cell.uri('early'), [4])).args, ['enough']);
  check([await seen.get(), await seen.get()], [[1], [4]], 'invocations');
  check(seen.length, 0, 'further invocations');
}

/// AP-PCI-03: as a caller of wampy.js is, without the announcement: what it does counts.
async function chunksWithoutAnnouncement(cell) {
  const [callee, caller] = [
    await cell.join({ announce: { callee: CALLEE } }),
    await cell.join(),
  ];
  const seen = new Queue();
  await callee.register(cell.uri('unannounced'), (args, kwargs, { progress = false }) => {
    seen.put(args);
    return { args: progress ? [] : ['done'], progress };
  });
  const call = caller.startChunks(cell.uri('unannounced'), [1]);
  check(await seen.get(), [1], 'first chunk');
  call.send([2], true);
  check(await seen.get(), [2], 'last chunk');
  check((await call.result).args, ['done'], 'result');
}

export const TESTS = [chunksAndPartialResults, chunksAfterTheResult, chunksWithoutAnnouncement];
for (const test of TESTS) test.skips = (cell) => !cell.isWampy;
