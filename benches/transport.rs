//! The transport's hot path: decoding one frame, unmasking, queueing and gathering, and draining a
//! backlog. Run with `cargo bench --bench transport`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stentor::clock::Millis;
use stentor::transport::{
    Arena, Class, Framing, Inflater, Output, Stage, Transport, TransportRules, unmask,
};

/// A Sec-WebSocket-Protocol header that this text lacks would be refused, so it is here in full.
const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n";

fn masked_text(length: usize) -> Vec<u8> {
    let mut frame = vec![0x81];
    match length {
        0..=125 => frame.push(0x80 | length as u8),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    let key = [1, 2, 3, 4];
    frame.extend_from_slice(&key);
    let start = frame.len();
    frame.resize(start + length, b'x');
    unmask(&mut frame[start..], key);
    frame
}

fn decode(c: &mut Criterion) {
    let rules = TransportRules::default();
    let mut reply = Vec::new();
    let mut transport = Transport::new();
    let (first, later) = (Stage::Establishing, Stage::Established);
    let mut upgrade = UPGRADE.to_vec();
    let mut inflater = Inflater::default();
    let opened = transport.decode(&mut upgrade, first, &rules, &mut inflater, &mut reply);
    opened.expect("a good request");
    for length in [128, 1024] {
        let frame = masked_text(length);
        c.bench_function(&format!("decode masked text {length} B"), |b| {
            b.iter_batched_ref(
                || frame.clone(),
                |input| {
                    let step = transport.decode(input, later, &rules, &mut inflater, &mut reply);
                    black_box(step).is_ok()
                },
                BatchSize::SmallInput,
            );
        });
    }
    c.bench_function("handshake", |b| {
        b.iter_batched_ref(
            || UPGRADE.to_vec(),
            |input| {
                reply.clear();
                let (mut transport, inflater) = (Transport::new(), &mut inflater);
                black_box(transport.decode(input, first, &rules, inflater, &mut reply)).is_ok()
            },
            BatchSize::SmallInput,
        );
    });
}

fn masks(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask");
    for length in [64, 1024, 64 * 1024] {
        let mut bytes = vec![0x55; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("{length} B"), |b| {
            b.iter(|| unmask(black_box(&mut bytes), [1, 2, 3, 4]));
        });
    }
}

/// One turn: 8 events for each connection, then each connection's bytes gathered for one write.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("push and gather 8 frames of 200 B");
    for connections in [100, 1000, 5000] {
        let mut outputs: Vec<Output> = (0..connections).map(|_| Output::new()).collect();
        let mut arena = Arena::new();
        let mut scratch = Vec::new();
        group.throughput(Throughput::Elements(connections * 8));
        group.bench_function(format!("{connections} connections"), |b| {
            b.iter(|| {
                for _ in 0..8 {
                    let span = arena.frame(Framing::WebSocketText, |out| {
                        out.resize(out.len() + 196, b'x');
                    });
                    for output in &mut outputs {
                        output.push(span, Class::Event);
                    }
                }
                for output in &mut outputs {
                    let written = black_box(output.next_write(&arena, &mut scratch, 65536)).len();
                    output.advance(written);
                }
                arena.clear();
            });
        });
    }
}

fn push_only(c: &mut Criterion) {
    let mut arena = Arena::new();
    let span = arena.put(&[0; 200]);
    let mut outputs: Vec<Output> = (0..1000).map(|_| Output::new()).collect();
    let mut group = c.benchmark_group("push");
    for frames in [4, 8] {
        group.throughput(Throughput::Elements(frames * 1000));
        group.bench_function(format!("{frames} spans and clear, 1000 connections"), |b| {
            b.iter(|| {
                for output in &mut outputs {
                    for _ in 0..frames {
                        output.push(black_box(span), Class::Event);
                    }
                }
                for output in &mut outputs {
                    output.advance(black_box(output.waiting_bytes()));
                }
            });
        });
    }
}

fn backlog(c: &mut Criterion) {
    const TOTAL: usize = 32 << 20;
    let mut arena = Arena::new();
    let span = arena.put(&[0; 200]);
    let filled = || {
        let mut output = Output::new();
        while output.waiting_bytes() < TOTAL {
            output.push(span, Class::Event);
        }
        output.retain_rest(&arena, Millis(1));
        output
    };
    let mut group = c.benchmark_group("backlog of 32 MiB in frames of 200 B");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(TOTAL as u64));
    group.bench_function("drained in writes of 16 KiB", |b| {
        b.iter_batched_ref(
            filled,
            |output| {
                let mut scratch = Vec::new();
                while !output.is_empty() {
                    let written = black_box(output.next_write(&arena, &mut scratch, 16384)).len();
                    output.advance(written);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("dropped event by event", |b| {
        b.iter_batched_ref(
            filled,
            |output| while output.drop_oldest_events(&arena, 200, Millis(1)).frames > 0 {},
            BatchSize::PerIteration,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = decode, masks, push_only, fan_out, backlog
}
criterion_main!(benches);
