// The TypeScript peers: the types of `@types/aws-lambda`, checked by tsc against each event as a
// literal, and Powertools' zod schemas with their envelope.
//
// usage: node peer.js EVENTS DUMP

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { MSKEvent, SelfManagedKafkaEvent } from 'aws-lambda';
import { KafkaEnvelope } from '@aws-lambda-powertools/parser/envelopes/kafka';
import { KafkaMskEventSchema, KafkaSelfManagedEventSchema } from '@aws-lambda-powertools/parser/schemas/kafka';
import { z } from 'zod';

type Reading = { decoded: unknown } | { rejected: string };
type Texts = Map<string, string>;

const hex = (bytes: Buffer | undefined): string | null => bytes?.toString('hex') ?? null;

const attempt = (decode: () => unknown): Reading => {
  try {
    return { decoded: decode() };
  } catch (error) {
    return { rejected: String(error) };
  }
};

/** What a handler with the types of `@types/aws-lambda` reads. */
const typed = (event: MSKEvent | SelfManagedKafkaEvent) => ({
  event_source: event.eventSource,
  event_source_arn: event.eventSource === 'aws:kafka' ? event.eventSourceArn : null,
  bootstrap_servers: event.bootstrapServers,
  records: Object.fromEntries(
    Object.entries(event.records).map(([key, records]) => [
      key,
      records.map((record) => ({
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp,
        timestamp_type: record.timestampType,
        key: hex(Buffer.from(record.key, 'base64')),
        value: hex(Buffer.from(record.value, 'base64')),
        headers: record.headers.flatMap((header) =>
          Object.entries(header).map(([name, value]) => {
            // `Buffer.from` would take 128 as well as -128; what AWS sends is signed.
            if (value.some((byte) => byte < -128 || byte > 127)) throw new RangeError(`not signed: ${value}`);
            return [name, hex(Buffer.from(value))];
          })
        ),
      })),
    ])
  ),
});

/** What the schemas give: keys, values and headers as strings. */
const parsed = (event: unknown) => {
  const msk = (event as { eventSource: string }).eventSource === 'aws:kafka';
  const kafka = msk ? KafkaMskEventSchema.parse(event) : KafkaSelfManagedEventSchema.parse(event);
  const values = Object.values(kafka.records).flatMap((records) => records.map((record) => record.value));
  const enveloped = KafkaEnvelope.parse(event, z.string());
  if (JSON.stringify(enveloped) !== JSON.stringify(values)) throw new Error('the envelope has other values');
  return {
    event_source: kafka.eventSource,
    event_source_arn: 'eventSourceArn' in kafka ? kafka.eventSourceArn : null,
    bootstrap_servers: kafka.bootstrapServers?.join(',') ?? null,
    records: Object.fromEntries(
      Object.entries(kafka.records).map(([key, records]) => [
        key,
        records.map((record) => ({
          topic: record.topic,
          partition: record.partition,
          offset: record.offset,
          timestamp_ms: record.timestamp,
          timestamp_type: record.timestampType,
          key: record.key === undefined ? null : hex(Buffer.from(record.key)),
          value: hex(Buffer.from(record.value)),
          headers: record.headers.flatMap((header) =>
            Object.entries(header).map(([name, value]) => [name, hex(Buffer.from(value))])
          ),
        })),
      ])
    ),
  };
};

/** What tsc says of each event as a literal of its type; nothing if it agrees. */
const complaints = (events: Texts): Map<string, string> => {
  rmSync('typed', { recursive: true, force: true });
  mkdirSync('typed');
  const files = [...events].map(([name, text]) => {
    const type = JSON.parse(text).eventSource === 'aws:kafka' ? 'MSKEvent' : 'SelfManagedKafkaEvent';
    const file = join('typed', `${name}.ts`);
    writeFileSync(file, `import type { ${type} } from 'aws-lambda';\nexport const event: ${type} = ${text};\n`);
    return file;
  });
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--pretty', 'false', '--types', 'aws-lambda'];
  const modules = ['--module', 'NodeNext', '--moduleResolution', 'NodeNext'];
  const tsc = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', ...options, ...modules, ...files], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const found = new Map<string, string>();
  // `typed/x.ts(2,14): error TS2741: Property ...`, more lines of it indented.
  for (const message of tsc.stdout.split(/\n(?! )/).filter((line) => line !== '')) {
    const file = /^typed\/(.*)\.ts\(/.exec(message);
    if (!file) throw new Error(`tsc says: ${message}`);
    found.set(file[1], `${found.get(file[1]) ?? ''}${message}\n`);
  }
  if (tsc.error || (tsc.status !== 0) !== found.size > 0) throw new Error(`tsc: ${tsc.status} ${tsc.stderr}`);
  return found;
};

const [events, dump] = process.argv.slice(2);
const texts: Texts = new Map(
  readdirSync(events).map((file) => [basename(file, '.json'), readFileSync(join(events, file), 'utf8')])
);
const complained = complaints(texts);
const answers = (decode: (name: string, event: unknown) => Reading) =>
  Object.fromEntries([...texts].map(([name, text]) => [name, decode(name, JSON.parse(text))]));

writeFileSync(
  dump,
  JSON.stringify([
    {
      peer: 'typescript/types',
      events: answers((name, event) => {
        const complaint = complained.get(name);
        return complaint ? { rejected: complaint } : attempt(() => typed(event as MSKEvent | SelfManagedKafkaEvent));
      }),
    },
    { peer: 'typescript/parser', events: answers((_, event) => attempt(() => parsed(event))) },
  ])
);
