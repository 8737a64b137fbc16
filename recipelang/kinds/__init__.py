"""The Protocols that methods fulfil, and the values that pass between methods and stages; one file a kind.

A kind is one role that several methods fill: every criterion ranks, every loss compares, every metric
measures. Shapes: B images in a batch, C classes or channels, H×W pixels, N samples.
"""

from recipelang.kinds.companion import Companion
from recipelang.kinds.criterion import Criterion, Solver
from recipelang.kinds.data import Batch, DataMethod, Dataset, Labels, names_of
from recipelang.kinds.edit import Edit
from recipelang.kinds.evidence import Evidence
from recipelang.kinds.export import ExportMethod
from recipelang.kinds.figure import Figure
from recipelang.kinds.loss import SEVERAL, Loss, OutputLoss
from recipelang.kinds.metric import Measurement, Metric, PredictionMetric
from recipelang.kinds.model import ModelMethod, ModelRequest
from recipelang.kinds.optimizer import Optimizer
from recipelang.kinds.pattern import Pattern
from recipelang.kinds.permutation import Permutation
from recipelang.kinds.points import Pairing, Point, Points, middle, paired
from recipelang.kinds.preprocessing import Preprocessing
from recipelang.kinds.progress import Progress
from recipelang.kinds.quantizer import Observed, RangeEstimator, Scheme
from recipelang.kinds.ramp import Ramp
from recipelang.kinds.restriction import Restriction
from recipelang.kinds.runtime import PRECISIONS, Deployment, Executable, Finding, LayerExecution, Runtime
from recipelang.kinds.schedule import Schedule
from recipelang.kinds.seen import Moment, Seen
from recipelang.kinds.task import DEFAULT_TASK, Task, serves
from recipelang.kinds.unit import Gone, Group, Offer, Unit

__all__ = [
    "DEFAULT_TASK",
    "PRECISIONS",
    "SEVERAL",
    "Batch",
    "Companion",
    "Criterion",
    "DataMethod",
    "Dataset",
    "Deployment",
    "Edit",
    "Evidence",
    "Executable",
    "ExportMethod",
    "Figure",
    "Finding",
    "Gone",
    "Group",
    "Labels",
    "LayerExecution",
    "Loss",
    "Measurement",
    "Metric",
    "ModelMethod",
    "ModelRequest",
    "Moment",
    "Offer",
    "Observed",
    "Optimizer",
    "OutputLoss",
    "Pairing",
    "Pattern",
    "Permutation",
    "Point",
    "Points",
    "PredictionMetric",
    "Preprocessing",
    "Progress",
    "Ramp",
    "RangeEstimator",
    "Restriction",
    "Runtime",
    "Schedule",
    "Scheme",
    "Seen",
    "Solver",
    "Task",
    "Unit",
    "middle",
    "names_of",
    "paired",
    "serves",
]
