"""One module a peer: its queue, its jobs, how it enqueues. Runs in that peer's environment.

A module has ``enqueue_each(job, payloads)`` and, where the peer offers to send many jobs at once,
``enqueue_bulk(job, payloads)``; either may be ``async``. ``connected()``, an asynchronous context,
opens what these need. How its worker starts is in ``benchmarks.catalogue``.
"""
