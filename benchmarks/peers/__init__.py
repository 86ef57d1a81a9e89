"""One module per peer: its queue, jobs and enqueueing. Runs in that peer's environment.

A module has ``enqueue_each(job, payloads)`` and, if the peer has a bulk call,
``enqueue_bulk(job, payloads)``; both may be ``async``. ``connected()``, an asynchronous context,
opens the connections they need. ``benchmarks.catalogue`` has the command of its worker.
"""
