"""The Python peers: Powertools' data class and its pydantic model of the parser.

usage: peer.py EVENTS DUMP
"""

import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from aws_lambda_powertools.shared.functions import decode_header_bytes
from aws_lambda_powertools.utilities.data_classes import KafkaEvent
from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.parser.models import KafkaMskEventModel, KafkaSelfManagedEventModel

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def hex_or_none(part):
    return None if part is None else part.hex()


def data_class(event):
    """What the data class offers, property by property."""
    kafka = KafkaEvent(event)
    # `records` is flat: the topic and partition of each record say where it belongs.
    records = {}
    for record in kafka.records:
        headers = [[name, decode_header_bytes(value)] for header in record.headers for name, value in header.items()]
        # The class's own view is a dictionary, the last of equal names wins, case aside.
        for name, value in {name.lower(): value for name, value in headers}.items():
            if record.decoded_headers[name] != value:
                raise ValueError(f"decoded_headers[{name!r}] is {record.decoded_headers[name]!r}, not {value!r}")
        records.setdefault(f"{record.topic}-{record.partition}", []).append(
            {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp_ms": record.timestamp,
                "timestamp_type": record.timestamp_type,
                "key": hex_or_none(record.decoded_key),
                "value": hex_or_none(record.decoded_value),
                "headers": [[name, value.hex()] for name, value in headers],
            }
        )
    return {
        "event_source": kafka.event_source,
        "event_source_arn": kafka.event_source_arn,
        "bootstrap_servers": ",".join(kafka.decoded_bootstrap_servers),
        "records": records,
    }


def parser(event):
    """What the parser's model makes of the event."""
    msk = event["eventSource"] == "aws:kafka"
    kafka = parse(event=event, model=KafkaMskEventModel if msk else KafkaSelfManagedEventModel)
    return {
        "event_source": kafka.eventSource,
        "event_source_arn": kafka.eventSourceArn if msk else None,
        "bootstrap_servers": ",".join(kafka.bootstrapServers),
        "records": {
            key: [
                {
                    "topic": record.topic,
                    "partition": record.partition,
                    "offset": record.offset,
                    "timestamp_ms": (record.timestamp - EPOCH) // timedelta(milliseconds=1),
                    "timestamp_type": record.timestampType,
                    "key": hex_or_none(record.key),
                    "value": hex_or_none(record.value.encode()),
                    "headers": [[name, value.hex()] for header in record.headers for name, value in header.items()],
                }
                for record in records
            ]
            for key, records in kafka.records.items()
        },
    }


def reading(decode, path):
    # Read anew for each peer: the parser changes the event that it is given.
    event = json.loads(path.read_bytes())
    try:
        return {"decoded": decode(event)}
    except Exception as error:  # whatever the class raises is its answer
        return {"rejected": f"{type(error).__name__}: {error}"}


def main():
    events, dump = map(Path, sys.argv[1:])
    paths = sorted(events.glob("*.json"))
    peers = {"python/data_class": data_class, "python/parser": parser}
    answers = [
        {"peer": peer, "events": {path.stem: reading(decode, path) for path in paths}} for peer, decode in peers.items()
    ]
    dump.write_text(json.dumps(answers))


main()
