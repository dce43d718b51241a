//! From what was seen to a [`RunResult`].

use std::time::Duration;

use super::{Finished, RunPlan, Window};
use crate::audit::{Commits, Verdict};
use crate::load::EMBEDDED_OUTSTANDING_BYTES_MAX;
use crate::measure::cpu::peak_resident_bytes;
use crate::meter::{Measured, Piece};
use crate::result::{
    Batches, Cpu, Interval, LatencyFrom, Load, NOT_OPTIMIZED, Overlap, RunResult, Throughput, VERSION, ratio,
};
use crate::workload::arrival::Arrival;
use crate::workload::scenario::SourceSpec;

pub(super) fn result(plan: &RunPlan, measured: &Measured, finished: Finished) -> RunResult {
    let audit = measured.audit.verdict(&finished.ends, Commits::Expected);
    let intervals = intervals(measured, &finished);
    let mut remarks = remarks(plan, &finished, &audit);
    remarks.extend(finished.remarks);
    let latency_from = match (&plan.scenario.source, plan.scenario.workload.arrival) {
        (SourceSpec::Memory, _) => LatencyFrom::Poll,
        (_, Arrival::Fast) => LatencyFrom::HandOver,
        _ => LatencyFrom::IntendedSend,
    };
    let load = finished.load.map(|load| Load {
        records: load.records,
        tombstones: load.tombstones,
        failed: load.failed,
        hottest_partition_share: hottest_partition_share(&finished.starts, &finished.ends),
        lateness: load.lateness.summary(),
        paced_s: load.paced.as_secs_f64(),
        outstanding_bytes_peak: finished.outstanding_bytes_peak,
    });
    RunResult {
        version: VERSION,
        scenario: plan.name.clone(),
        spec: plan.spec.clone(),
        machine: finished.machine,
        started_at_unix_ms: finished.started_at_unix_ms,
        interrupted: finished.interrupted,
        throughput: throughput(&finished.window),
        cpu: cpu(&finished.window),
        resident_bytes_peak: peak_resident_bytes(),
        batches: batches(plan, measured),
        overlap: Overlap {
            batches: measured.overlap.batches,
            full_ahead: measured.overlap.full_ahead,
            full_ahead_share: ratio(measured.overlap.full_ahead as f64, measured.overlap.batches as f64),
            turnaround: measured.overlap.turnaround.summary(),
        },
        invocations: finished.invocations,
        latency_from,
        latency: measured.stages.summaries(),
        intervals,
        load,
        audit,
        remarks,
    }
}

fn intervals(measured: &Measured, finished: &Finished) -> Vec<Interval> {
    let window = &finished.window;
    let interval = |piece: &Piece| {
        let from = window.from + piece.start;
        let figure = |us: u64| (piece.latency.count > 0).then_some(us);
        Interval {
            start_s: piece.start.as_secs_f64(),
            elapsed_s: piece.elapsed.as_secs_f64(),
            records: piece.records,
            record_bytes: piece.bytes,
            engine_cpu_s: finished.engine_cpu.between(from, from + piece.elapsed).as_secs_f64(),
            latency_p50_us: figure(piece.latency.p50_us),
            latency_p99_us: figure(piece.latency.p99_us),
        }
    };
    measured.slots.pieces(window.until - window.from).iter().map(interval).collect()
}

fn hottest_partition_share(starts: &[i64], ends: &[i64]) -> f64 {
    let records = || starts.iter().zip(ends).map(|(start, end)| end - start);
    ratio(records().max().unwrap_or(0) as f64, records().sum::<i64>() as f64)
}

fn throughput(window: &Window) -> Throughput {
    let elapsed_s = window.elapsed.as_secs_f64();
    Throughput {
        elapsed_s,
        records: window.records,
        record_bytes: window.bytes,
        records_per_s: ratio(window.records as f64, elapsed_s),
        record_bytes_per_s: ratio(window.bytes as f64, elapsed_s),
    }
}

fn cpu(window: &Window) -> Cpu {
    let engine_s = window.cpu.engine.as_secs_f64();
    Cpu {
        engine_s,
        broker_s: window.cpu.broker.as_secs_f64(),
        load_s: window.cpu.load.as_secs_f64(),
        harness_s: window.cpu.harness.as_secs_f64(),
        engine_s_per_gb: ratio(engine_s, window.bytes as f64 / 1e9),
        engine_s_per_million_records: ratio(engine_s, window.records as f64 / 1e6),
    }
}

fn batches(plan: &RunPlan, measured: &Measured) -> Batches {
    let (mapping, batches) = (&plan.scenario.mapping, &measured.batches);
    let records_mean = ratio(batches.records as f64, batches.batches as f64);
    let payload_bytes_mean = ratio(batches.payload_bytes as f64, batches.batches as f64);
    let (least, most) = batches.payload_bytes_range.unwrap_or_default();
    Batches {
        count: batches.batches,
        records_mean,
        invocation_mean_us: ratio(batches.invoked.as_secs_f64() * 1e6, batches.batches as f64),
        fill_by_records_share: records_mean / f64::from(mapping.batch_size),
        payload_bytes_mean,
        payload_bytes_min: least as u64,
        payload_bytes_max: most as u64,
        fill_by_bytes_share: payload_bytes_mean / f64::from(mapping.payload_bytes_max),
        causes: batches.causes.iter().map(|(cause, count)| ((*cause).to_owned(), *count)).collect(),
    }
}

/// What went wrong beside the audit, and what makes figures doubtful.
fn remarks(plan: &RunPlan, finished: &Finished, audit: &Verdict) -> Vec<String> {
    let mut remarks = plan.scenario.workload.replay.map_or(Vec::new(), |one| one.remarks().to_vec());
    if audit.records_lost > 0 && plan.scenario.source == SourceSpec::Embedded {
        let peak = finished.outstanding_bytes_peak;
        remarks.push(if peak > EMBEDDED_OUTSTANDING_BYTES_MAX + (1 << 20) {
            format!(
                "offsets jumped: the embedded broker keeps 5 MiB of each partition and drops older records \
                 silently; up to {peak} B were outstanding in one. Smaller records, or a broker of your own \
                 (--brokers)"
            )
        } else {
            format!(
                "offsets jumped although at most {peak} B of a partition were outstanding, which the embedded \
                 broker keeps: the engine lost them"
            )
        });
    }
    if let Some(load) = &finished.load {
        if let Some(error) = &load.error {
            remarks.push(error.to_string());
        }
        if plan.scenario.workload.arrival != Arrival::Fast && load.paced > Duration::from_millis(1) {
            remarks.push(format!(
                "the generator waited {:.1} s for the engine, lest the embedded broker forget records; it was \
                 late by that, and latencies contain it",
                load.paced.as_secs_f64()
            ));
        }
    }
    if finished.window.records == 0 && audit.records_filtered == 0 {
        remarks.push(
            "the load ended during the warm-up: nothing was measured; give a shorter --warm-up".to_owned(),
        );
    }
    if finished.window.stalls > 0 {
        remarks.push(format!(
            "the engine waited {} times for the meter: figures are too pessimistic",
            finished.window.stalls
        ));
    }
    if !finished.machine.optimized {
        remarks.push(NOT_OPTIMIZED.to_owned());
    }
    remarks
}
