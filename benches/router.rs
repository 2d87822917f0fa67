//! Times of the router's core: fan-out, matching and calls, through a shard without sockets.

mod cases;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use cases::{Calls, FanOut, Matching, Sessions};

/// Cost per event, which must stay flat as receivers grow, on one shard and spread over several.
fn fan_out(criterion: &mut Criterion) {
    for shards in [1, 8] {
        let name = format!("fan-out, 8 in one turn, receivers on {shards} shards");
        let mut group = criterion.benchmark_group(name);
        for receivers in [100, 1_000, 10_000, 100_000] {
            let mut fan_out = FanOut::new(receivers, shards);
            group.throughput(Throughput::Elements(8 * receivers as u64));
            group.bench_function(BenchmarkId::from_parameter(receivers), |bencher| {
                bencher.iter(|| fan_out.publish(8));
            });
        }
        group.finish();
    }
}

/// Cost per event of 1 KiB by WebSocket: plain, and compressed once for all receivers.
fn compression(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1 KiB by WebSocket, 1 in one turn, 1,000 receivers");
    for (name, is_compressed) in [("plain", false), ("compressed", true)] {
        let mut fan_out = FanOut::by_websocket(is_compressed);
        group.throughput(Throughput::Elements(1_000));
        group.bench_function(name, |bencher| bencher.iter(|| fan_out.publish(1)));
    }
    group.finish();
}

/// Cost per publication, which must stay flat as topics and patterns grow.
fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matching");
    for (topics, patterns, shapes) in
        [(1, 0, 1), (1_000, 0, 1), (1_000_000, 0, 1), (1, 10, 1), (1, 10_000, 1), (1, 10_000, 50)]
    {
        let mut matching = Matching::new(topics, patterns, shapes);
        let name = format!("{topics} topics, {patterns} patterns of {shapes} shapes");
        group.bench_function(name, |bencher| bencher.iter(|| matching.publish()));
    }
    let mut matching = Matching::with_rules(1_000, 0, 1);
    let name = "1000 topics, and a thousand permissions";
    group.bench_function(name, |bencher| bencher.iter(|| matching.publish()));
    group.finish();
}

fn calls(criterion: &mut Criterion) {
    let mut calls = Calls::default();
    criterion.bench_function("call and answer", |bencher| bencher.iter(|| calls.call()));
    let mut calls = Calls::with_rules();
    let name = "call and answer, and a thousand permissions";
    criterion.bench_function(name, |bencher| bencher.iter(|| calls.call()));
    let mut sessions = Sessions::default();
    criterion.bench_function("join and leave", |bencher| bencher.iter(|| sessions.come_and_go()));
}

criterion_group!(benches, fan_out, compression, matching, calls);
criterion_main!(benches);
