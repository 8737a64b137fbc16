"""The Protocols that methods fulfil, and the values that pass between methods and stages; one file a kind.

A kind is one role that several methods fill: every criterion ranks, every loss compares, every metric
measures. A file is loaded when something of it is first asked for: `recipe check` needs few of them.

Shapes: B images in a batch, C classes or channels, H×W pixels, N samples.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipelang.kinds.allocation import Allocation as Allocation
    from recipelang.kinds.allocation import Bench as Bench
    from recipelang.kinds.allocation import Explorer as Explorer
    from recipelang.kinds.allocation import Ledger as Ledger
    from recipelang.kinds.allocation import Queue as Queue
    from recipelang.kinds.allocation import RemovalStep as RemovalStep
    from recipelang.kinds.allocation import Taken as Taken
    from recipelang.kinds.allocation import searching as searching
    from recipelang.kinds.companion import MASKS as MASKS
    from recipelang.kinds.companion import PARTS as PARTS
    from recipelang.kinds.companion import Companion as Companion
    from recipelang.kinds.companion import Decided as Decided
    from recipelang.kinds.companion import Finished as Finished
    from recipelang.kinds.criterion import Compensator as Compensator
    from recipelang.kinds.criterion import Criterion as Criterion
    from recipelang.kinds.criterion import Solver as Solver
    from recipelang.kinds.criterion import voters as voters
    from recipelang.kinds.criterion import why_no_sum as why_no_sum
    from recipelang.kinds.criterion import why_unfit as why_unfit
    from recipelang.kinds.data import Batch as Batch
    from recipelang.kinds.data import DataMethod as DataMethod
    from recipelang.kinds.data import Dataset as Dataset
    from recipelang.kinds.data import Labels as Labels
    from recipelang.kinds.data import names_of as names_of
    from recipelang.kinds.data import offered as offered
    from recipelang.kinds.edit import Edit as Edit
    from recipelang.kinds.encoder import Encoder as Encoder
    from recipelang.kinds.evidence import Ablation as Ablation
    from recipelang.kinds.evidence import Again as Again
    from recipelang.kinds.evidence import Evidence as Evidence
    from recipelang.kinds.export import Beside as Beside
    from recipelang.kinds.export import ExportMethod as ExportMethod
    from recipelang.kinds.export import ObservingExport as ObservingExport
    from recipelang.kinds.figure import Figure as Figure
    from recipelang.kinds.hardware import Hardware as Hardware
    from recipelang.kinds.inputs import FLOATING as FLOATING
    from recipelang.kinds.inputs import Inputs as Inputs
    from recipelang.kinds.inputs import inputs_of as inputs_of
    from recipelang.kinds.loss import SEVERAL as SEVERAL
    from recipelang.kinds.loss import Loss as Loss
    from recipelang.kinds.loss import OutputLoss as OutputLoss
    from recipelang.kinds.metric import Measurement as Measurement
    from recipelang.kinds.metric import Metric as Metric
    from recipelang.kinds.metric import Percentiles as Percentiles
    from recipelang.kinds.metric import PredictionMetric as PredictionMetric
    from recipelang.kinds.model import ModelMethod as ModelMethod
    from recipelang.kinds.model import ModelRequest as ModelRequest
    from recipelang.kinds.optimizer import Optimizer as Optimizer
    from recipelang.kinds.pattern import PATTERN_SCORES as PATTERN_SCORES
    from recipelang.kinds.pattern import Pattern as Pattern
    from recipelang.kinds.permutation import Permutation as Permutation
    from recipelang.kinds.plot import Line as Line
    from recipelang.kinds.plot import Plot as Plot
    from recipelang.kinds.points import Pairing as Pairing
    from recipelang.kinds.points import Point as Point
    from recipelang.kinds.points import Points as Points
    from recipelang.kinds.points import middle as middle
    from recipelang.kinds.points import none_fits as none_fits
    from recipelang.kinds.points import paired as paired
    from recipelang.kinds.points import trained as trained
    from recipelang.kinds.preprocessing import Preprocessing as Preprocessing
    from recipelang.kinds.progress import Measured as Measured
    from recipelang.kinds.progress import Numbered as Numbered
    from recipelang.kinds.progress import Progress as Progress
    from recipelang.kinds.progress import Quiet as Quiet
    from recipelang.kinds.progress import hears as hears
    from recipelang.kinds.quantizer import BITS as BITS
    from recipelang.kinds.quantizer import QUANTIZED as QUANTIZED
    from recipelang.kinds.quantizer import Observed as Observed
    from recipelang.kinds.quantizer import Quantizer as Quantizer
    from recipelang.kinds.quantizer import Scheme as Scheme
    from recipelang.kinds.ramp import Ramp as Ramp
    from recipelang.kinds.restriction import Restriction as Restriction
    from recipelang.kinds.rounder import BLOCK as BLOCK
    from recipelang.kinds.rounder import LAYER as LAYER
    from recipelang.kinds.rounder import NETWORK as NETWORK
    from recipelang.kinds.rounder import UNITS as UNITS
    from recipelang.kinds.rounder import Piece as Piece
    from recipelang.kinds.rounder import Rounded as Rounded
    from recipelang.kinds.rounder import Rounder as Rounder
    from recipelang.kinds.rounder import as_matrices as as_matrices
    from recipelang.kinds.rounder import as_weight as as_weight
    from recipelang.kinds.rounder import masked as masked
    from recipelang.kinds.rounder import nearest as nearest
    from recipelang.kinds.rounds import EvenRounds as EvenRounds
    from recipelang.kinds.rounds import InRounds as InRounds
    from recipelang.kinds.runtime import GOALS as GOALS
    from recipelang.kinds.runtime import PRECISIONS as PRECISIONS
    from recipelang.kinds.runtime import Deployment as Deployment
    from recipelang.kinds.runtime import Executable as Executable
    from recipelang.kinds.runtime import Finding as Finding
    from recipelang.kinds.runtime import LayerExecution as LayerExecution
    from recipelang.kinds.runtime import Runtime as Runtime
    from recipelang.kinds.schedule import DecidingSchedule as DecidingSchedule
    from recipelang.kinds.schedule import Masking as Masking
    from recipelang.kinds.schedule import Schedule as Schedule
    from recipelang.kinds.seen import Attention as Attention
    from recipelang.kinds.seen import Moment as Moment
    from recipelang.kinds.seen import Seen as Seen
    from recipelang.kinds.sharing import Sharing as Sharing
    from recipelang.kinds.shift import Shift as Shift
    from recipelang.kinds.shift import shift_of as shift_of
    from recipelang.kinds.source import Source as Source
    from recipelang.kinds.task import DEFAULT_TASK as DEFAULT_TASK
    from recipelang.kinds.task import Task as Task
    from recipelang.kinds.task import serves as serves
    from recipelang.kinds.tracker import FAILED as FAILED
    from recipelang.kinds.tracker import FINISHED as FINISHED
    from recipelang.kinds.tracker import INTERRUPTED as INTERRUPTED
    from recipelang.kinds.tracker import Scalar as Scalar
    from recipelang.kinds.tracker import Session as Session
    from recipelang.kinds.tracker import TrackedRun as TrackedRun
    from recipelang.kinds.tracker import Tracker as Tracker
    from recipelang.kinds.unit import Gone as Gone
    from recipelang.kinds.unit import Group as Group
    from recipelang.kinds.unit import Offer as Offer
    from recipelang.kinds.unit import Unit as Unit
    from recipelang.kinds.widths import Choice as Choice
    from recipelang.kinds.widths import WidthBench as WidthBench
    from recipelang.kinds.widths import Widths as Widths
    from recipelang.kinds.widths import WidthSearch as WidthSearch

#: file → what is offered here of it
OFFERED = {
    "allocation": "Allocation Bench Explorer Ledger Queue RemovalStep Taken searching",
    "companion": "MASKS PARTS Companion Decided Finished",
    "criterion": "Compensator Criterion Solver voters why_no_sum why_unfit",
    "data": "Batch DataMethod Dataset Labels names_of offered",
    "edit": "Edit",
    "encoder": "Encoder",
    "evidence": "Ablation Again Evidence",
    "export": "Beside ExportMethod ObservingExport",
    "figure": "Figure",
    "hardware": "Hardware",
    "loss": "SEVERAL Loss OutputLoss",
    "inputs": "FLOATING Inputs inputs_of",
    "metric": "Measurement Metric Percentiles PredictionMetric",
    "model": "ModelMethod ModelRequest",
    "optimizer": "Optimizer",
    "pattern": "PATTERN_SCORES Pattern",
    "permutation": "Permutation",
    "plot": "Line Plot",
    "points": "Pairing Point Points middle none_fits paired trained",
    "preprocessing": "Preprocessing",
    "progress": "Measured Numbered Progress Quiet hears",
    "quantizer": "BITS QUANTIZED Observed Quantizer Scheme",
    "ramp": "Ramp",
    "restriction": "Restriction",
    "rounder": "BLOCK LAYER NETWORK UNITS Piece Rounded Rounder as_matrices as_weight masked nearest",
    "rounds": "EvenRounds InRounds",
    "runtime": "GOALS PRECISIONS Deployment Executable Finding LayerExecution Runtime",
    "schedule": "DecidingSchedule Masking Schedule",
    "seen": "Attention Moment Seen",
    "shift": "Shift shift_of",
    "sharing": "Sharing",
    "source": "Source",
    "task": "DEFAULT_TASK Task serves",
    "tracker": "FAILED FINISHED INTERRUPTED Scalar Session TrackedRun Tracker",
    "unit": "Gone Group Offer Unit",
    "widths": "Choice WidthBench WidthSearch Widths",
}
_HOME = {name: file for file, names in OFFERED.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    return found
