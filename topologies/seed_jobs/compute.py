"""CPU-bound jobs: composing mail, adding up a report, statistics."""

from __future__ import annotations

import csv
import io
import random
import re
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from email.message import EmailMessage
from hashlib import sha256
from typing import Annotated, Any

from msgspec import Meta

from bananas_topology import Bury, JobContext, job
from seed_jobs.workspace import file_name, folder, write_atomic

_ADDRESS = re.compile(r"[^@\s<>,;:\"]+@[^@\s<>,;:\"]+")
_REGIONS = ("north", "east", "south", "west")

#: Upper limit of the rows or values that one job generates.
Count = Annotated[int, Meta(ge=1, le=100_000)]


@dataclass(frozen=True, slots=True)
class Email:
    """A message to one address."""

    to: str
    subject: str = "Hello from Bananas"
    body: str = "This message was composed by a worker.\n"


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A report: its kind, and the seed and number of the generated `rows`."""

    kind: str = "sales"
    rows: Count = 2_000
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Measurements:
    """Values to describe; if empty, `count` values are generated from the seed."""

    values: list[float] = field(default_factory=list)
    count: Count = 5_000
    seed: int = 1


@job("send_email")
def send_email(payload: Email, context: JobContext) -> dict[str, Any]:
    """Compose a message and put it into the outbox, one file per message as in a maildir."""
    if not _ADDRESS.fullmatch(payload.to):
        raise Bury(f'"{payload.to}" is not a valid address; expected one such as ada@example.com')
    if "\n" in payload.subject or "\r" in payload.subject:
        raise Bury("the subject has a line break; expected one line")
    name = file_name(context.job_id, ".eml")
    message = EmailMessage()
    message["From"] = "bananas@example.com"
    message["To"] = payload.to
    message["Subject"] = payload.subject
    # Derived from the job's id: mailboxes recognize the message of a second run.
    message_id = f"<{name.removesuffix('.eml')}@example.com>"
    message["Message-ID"] = message_id
    message.set_content(payload.body)
    content = message.as_bytes()
    write_atomic(folder("outbox") / name, content)
    return {"message_id": message_id, "bytes": len(content), "file": name}


@job("generate_report")
def generate_report(payload: ReportRequest | None, context: JobContext) -> dict[str, Any]:
    """Write generated sales as CSV, with a total per region."""
    request = payload or ReportRequest()
    generator = random.Random(request.seed)
    totals: dict[str, int] = defaultdict(int)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("day", "region", "cents"))
    for _ in range(request.rows):
        day, region = generator.randrange(1, 366), generator.choice(_REGIONS)
        cents = generator.randrange(100, 100_000)
        totals[region] += cents
        writer.writerow((day, region, cents))
    content = text.getvalue().encode()
    name = file_name(context.job_id, ".csv")
    write_atomic(folder("reports") / name, content)
    return {
        "kind": request.kind,
        "rows": request.rows,
        "total_cents": sum(totals.values()),
        "cents_by_region": dict(sorted(totals.items())),
        "sha256": sha256(content).hexdigest(),
        "file": name,
    }


@job("process_analytics")
def process_analytics(payload: Measurements | None) -> dict[str, Any]:
    """Describe values: count, mean, deviation, median and 95th percentile."""
    request = payload or Measurements()
    values = request.values or _generated(request)
    centiles = statistics.quantiles(values, n=100) if len(values) > 1 else values * 99
    return {
        "count": len(values),
        "mean": statistics.fmean(values),
        "deviation": statistics.pstdev(values),
        "median": statistics.median(values),
        "p95": centiles[94],
    }


def _generated(request: Measurements) -> list[float]:
    generator = random.Random(request.seed)
    return [generator.lognormvariate(0.0, 0.5) for _ in range(request.count)]
