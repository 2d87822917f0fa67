//! What one message costs in each serializer: `cargo bench --bench codec`.

use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;

use stentor::codec::{self, Codec, DecodeLimits};
use stentor::wamp::{
    ClientMessage, Dict, Payload, PublicationId, RouterMessage, SubscriptionId, Value,
};

const LIMITS: DecodeLimits = DecodeLimits { nesting: 64 };

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decode(&mut criterion);
    encode(&mut criterion);
    transcode(&mut criterion);
    criterion.final_summary();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode PUBLISH");
    for codec in Codec::ALL {
        for size in [128, 1024] {
            let bytes = publish(codec, size);
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(format!("{} {size} B", codec.as_str()), |bencher| {
                bencher.iter(|| codec::decode(codec, black_box(&bytes), LIMITS).is_ok());
            });
        }
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode EVENT 128 B");
    let details: Dict = vec![("topic".into(), Value::from("com.example.topic"))];
    for codec in Codec::ALL {
        let publish = publish(codec, 128);
        let Ok(ClientMessage::Publish(publish)) = codec::decode(codec, &publish, LIMITS) else {
            panic!("it is a PUBLISH");
        };
        let message = RouterMessage::Event {
            subscription: SubscriptionId::from_random(5_512_315_354),
            publication: PublicationId::from_random(4_429_313_565_123),
            details: &details,
            payload: publish.payload,
        };
        let mut out = Vec::with_capacity(512);
        group.bench_function(codec.as_str(), |bencher| {
            bencher.iter(|| {
                out.clear();
                codec::encode(codec, black_box(&message), &mut out).is_ok()
            });
        });
    }
    group.finish();
}

fn transcode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transcode 1 KiB");
    for (from, to) in [(Codec::Json, Codec::MsgPack), (Codec::MsgPack, Codec::Json)] {
        let bytes = publish(from, 1024);
        let Ok(ClientMessage::Publish(publish)) = codec::decode(from, &bytes, LIMITS) else {
            panic!("it is a PUBLISH");
        };
        let name = format!("{} to {}", from.as_str(), to.as_str());
        group.bench_function(name, |bencher| {
            let once = |payload: Payload<'_>| codec::transcode(black_box(payload), to).is_ok();
            bencher.iter_batched(|| publish.payload, once, BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// A PUBLISH with a payload of about `size` bytes: a list with records of strings and numbers.
fn publish(codec: Codec, size: usize) -> Vec<u8> {
    let record: Dict = vec![
        ("id".into(), Value::UInt(48_151_623)),
        ("name".into(), Value::from("temperature sensor")),
        ("value".into(), Value::Float(21.375)),
        ("active".into(), Value::Bool(true)),
    ];
    let mut args = Vec::new();
    while codec_length(codec, &args) < size {
        args.push(Value::Dict(record.clone()));
    }
    let args = args_bytes(codec, &args);
    let topic = "com.example.topic";
    let mut bytes = match codec {
        Codec::Json => format!("[16,239714735,{{}},\"{topic}\",").into_bytes(),
        Codec::MsgPack => b"\x95\x10\xce\x0e\x49\xc1\xaf\x80\xb1com.example.topic".to_vec(),
        Codec::Cbor => b"\x85\x10\x1a\x0e\x49\xc1\xaf\xa0\x71com.example.topic".to_vec(),
    };
    bytes.extend_from_slice(&args);
    if codec == Codec::Json {
        bytes.push(b']');
    }
    bytes
}

fn codec_length(codec: Codec, args: &[Value]) -> usize {
    if args.is_empty() { 0 } else { args_bytes(codec, args).len() }
}

fn args_bytes(codec: Codec, args: &[Value]) -> Vec<u8> {
    let kwargs = Dict::new();
    let payload = codec::transcode(Payload::Values { args, kwargs: &kwargs }, codec);
    match payload.expect("every serializer has these").as_payload() {
        Payload::Raw { args, .. } => args.to_vec(),
        other => panic!("{other:?} has no bytes"),
    }
}
