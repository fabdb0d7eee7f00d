"""Counters and histograms for Prometheus."""

from __future__ import annotations

import prometheus_client as prometheus


class Metrics:
    """The metrics of one service, in a registry of their own, so that one process can run several services."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "mien_requests",
            "Responses, including answers to WebSocket frames",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = prometheus.Histogram(
            "mien_request_seconds",
            "Time from a request to its response",
            ("route",),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.pictures = prometheus.Counter(
            "mien_pictures", "Pictures by result, recognised or unreadable", ("result",), registry=self.registry
        )
        self.faces = prometheus.Counter("mien_faces", "Detected faces", registry=self.registry)
        self.queue_length = prometheus.Gauge(
            "mien_queue_pictures", "Pictures that wait for a worker", registry=self.registry
        )
        self.active_requests = prometheus.Gauge(
            "mien_in_work", "Requests and frames that are accepted but not answered yet", registry=self.registry
        )
        self.connections = prometheus.Gauge(
            "mien_connections", "Open connections, of mien serve only", registry=self.registry
        )
        self.held_bytes = prometheus.Gauge(
            "mien_held_bytes", "Bytes of bodies and frames that are not answered yet", registry=self.registry
        )
        self.memory = prometheus.Gauge(
            "mien_memory_bytes",
            "Resident memory of the service and its workers; pages that they share count once; Linux only",
            registry=self.registry,
        )
        self.batches = prometheus.Histogram(
            "mien_batch_pictures", "Pictures per batch", buckets=(1, 2, 4, 8, 16, 32), registry=self.registry
        )

    def count_response(self, route: str, status: int, seconds: float) -> None:
        """Counts one response and its duration."""
        self.requests.labels(route, status).inc()
        self.seconds.labels(route).observe(seconds)

    def export(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return prometheus.generate_latest(self.registry)
