"""The threads and queues that join sources, inference and sinks."""

from sapiens_stream.pipeline.run import Run
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.stream import Stream

__all__ = ["Run", "Statistics", "Stream"]
