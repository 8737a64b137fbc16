"""The plan: a recipe with every method built, every unit resolved and every default filled in.

    Plan ─ nodes: Step | Branch ─ Variant ─ nodes | Repeat ─ nodes

A Step holds an operation: the frozen dataclass that its verb defines (`verbs/prune.py: Prune`), and an operation says
what a run asks of it (`needs.py`). Everything here is frozen, printable and free of torch; `canonical` turns any of it
into the JSON that keys are made of.
"""

from recipelang.plan.effects import MADE as MADE
from recipelang.plan.effects import Built as Built
from recipelang.plan.effects import Chosen as Chosen
from recipelang.plan.effects import Effect as Effect
from recipelang.plan.effects import Expected as Expected
from recipelang.plan.effects import Made as Made
from recipelang.plan.effects import Named as Named
from recipelang.plan.effects import Opened as Opened
from recipelang.plan.effects import Reported as Reported
from recipelang.plan.effects import Returned as Returned
from recipelang.plan.effects import Seeded as Seeded
from recipelang.plan.effects import Shown as Shown
from recipelang.plan.effects import Tasked as Tasked
from recipelang.plan.effects import Written as Written
from recipelang.plan.keys import canonical as canonical
from recipelang.plan.keys import parts_of as parts_of
from recipelang.plan.keys import whole as whole
from recipelang.plan.lengths import Stretched as Stretched
from recipelang.plan.lengths import lengthened as lengthened
from recipelang.plan.needs import Closes as Closes
from recipelang.plan.needs import Finetune as Finetune
from recipelang.plan.needs import Needs as Needs
from recipelang.plan.needs import Operation as Operation
from recipelang.plan.needs import alters as alters
from recipelang.plan.needs import compresses as compresses
from recipelang.plan.needs import repeated as repeated
from recipelang.plan.nodes import Branch as Branch
from recipelang.plan.nodes import Node as Node
from recipelang.plan.nodes import Plan as Plan
from recipelang.plan.nodes import Repeat as Repeat
from recipelang.plan.nodes import Step as Step
from recipelang.plan.nodes import Variant as Variant
from recipelang.plan.nodes import conditions_of as conditions_of
from recipelang.plan.nodes import steps_of as steps_of
from recipelang.plan.values import CURRENT as CURRENT
from recipelang.plan.values import DEFAULT_RECOVERY as DEFAULT_RECOVERY
from recipelang.plan.values import All as All
from recipelang.plan.values import Any_ as Any_
from recipelang.plan.values import Condition as Condition
from recipelang.plan.values import Course as Course
from recipelang.plan.values import Duration as Duration
from recipelang.plan.values import FewValues as FewValues
from recipelang.plan.values import Mark as Mark
from recipelang.plan.values import Reading as Reading
from recipelang.plan.values import Samples as Samples
from recipelang.plan.values import Selection as Selection
from recipelang.plan.values import Selector as Selector
from recipelang.plan.values import Subject as Subject
from recipelang.plan.values import Term as Term
from recipelang.plan.values import Test as Test
from recipelang.plan.values import Training as Training
from recipelang.plan.values import Zeros as Zeros
from recipelang.plan.values import later as later
from recipelang.plan.values import tests_of as tests_of
from recipelang.plan.values import unhashed as unhashed
