//! What a shard may hold and do at most, whatever clients do: output, frames of a turn, mail of a
//! turn, work of a step.

use super::client::Stage;
use super::world::World;

impl World {
    pub(crate) fn check_bounds(&self) {
        let limits = &self.plan.settings.turn;
        let frame_bytes = self.plan.largest_frame_bytes();
        // One step may make one event in each serializer and framing before it looks again.
        let arena_bytes = limits.arena_bytes + ENCODINGS * frame_bytes;
        // It reads a message, and may pay for all that it has made: an event in each serializer and
        // framing, or an answer, which counts thrice.
        let answer_bytes = self.plan.largest_answer_bytes();
        let paid_bytes = frame_bytes + ((1 + ENCODINGS) * frame_bytes).max(3 * answer_bytes);
        let traced_units =
            if self.tracers.may_run() { TRACED_UNITS + frame_bytes / SHOWN_BYTES } else { 0 };
        let step_units =
            limits.step_units as usize + INDIVISIBLE_UNITS + traced_units + paid_bytes / UNIT_BYTES;
        for index in 0..self.plan.shards {
            let shard = self.net.shard(index);
            let made = shard.turn_bytes();
            assert!(made <= arena_bytes, "{made} B of frames, {arena_bytes} B may be");
            let longest = shard.longest_step();
            assert!(longest <= step_units as u64, "a step of {longest}, {step_units} may be");
        }
        let messages = limits.turn_units as usize / MESSAGE_UNITS + 2;
        let batch_bytes = messages * (frame_bytes + MAIL_BYTES);
        let largest = self.net.links.largest_batch_bytes;
        assert!(largest <= batch_bytes, "a batch of {largest} B, {batch_bytes} B may be");
        self.check_output();
    }

    /// Output never exceeds its limit by more than what one turn makes: so much may be queued
    /// before the socket was offered any of it.
    fn check_output(&self) {
        let settings = &self.plan.settings;
        let hard_bytes = settings.output.hard_bytes + settings.turn.arena_bytes;
        for client in &self.clients {
            let pipe = &self.net.links.pipes[client.pipe];
            if client.stage == Stage::Gone || pipe.closed {
                continue;
            }
            let waiting = self.net.shard(client.shard).waiting_bytes(pipe.slot);
            let limit = hard_bytes.max(self.plan.largest_frame_bytes()) + FAREWELL_BYTES;
            assert!(waiting <= limit, "{waiting} B wait for one client, {limit} B may");
        }
    }
}

/// Serializers times framings.
const ENCODINGS: usize = 9;

/// Bytes that count as one unit of work, and the units that every message counts for.
const UNIT_BYTES: usize = 64;
const MESSAGE_UNITS: usize = 16;

/// Units that a step spends on one message, on a look-up of all patterns that may match, or on a
/// member before it asks whether it is over.
const INDIVISIBLE_UNITS: usize = 200;

/// What a step spends more on a message that is traced with its payload, and its answer: units, and
/// bytes of payload for one unit.
const TRACED_UNITS: usize = 100;
const SHOWN_BYTES: usize = 4;

/// What mail weighs besides the payload.
const MAIL_BYTES: usize = 2_000;

/// What the router may say to a client over its limit before it closes.
const FAREWELL_BYTES: usize = 600;
