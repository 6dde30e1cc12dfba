"""Every kind of object that the way back knows, and what it knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autopilot.rollback.undo.columns import COLUMN, DEFAULT
from autopilot.rollback.undo.constraints import CONSTRAINT
from autopilot.rollback.undo.foreign import SERVER, USER_MAPPING, WRAPPER
from autopilot.rollback.undo.functions import AGGREGATE, FUNCTION
from autopilot.rollback.undo.indexes import INDEX, STATISTICS
from autopilot.rollback.undo.kind import Kind
from autopilot.rollback.undo.operators import BASE_TYPE, CAST, COLLATION, OPERATOR, OPERATOR_CLASS
from autopilot.rollback.undo.policies import POLICY
from autopilot.rollback.undo.privileges import DEFAULT_PRIVILEGES
from autopilot.rollback.undo.publications import PUBLICATION, PUBLICATION_TABLE
from autopilot.rollback.undo.schemas import EXTENSION, SCHEMA
from autopilot.rollback.undo.sequences import SEQUENCE
from autopilot.rollback.undo.tables import FOREIGN_TABLE, TABLE
from autopilot.rollback.undo.text_search import CONFIGURATION, DICTIONARY
from autopilot.rollback.undo.triggers import EVENT_TRIGGER, RULE, TRIGGER
from autopilot.rollback.undo.types import COMPOSITE, DOMAIN, ENUM, RANGE
from autopilot.rollback.undo.views import MATVIEW, VIEW

KINDS: Mapping[str, Kind] = MappingProxyType({
    "schema": SCHEMA,
    "extension": EXTENSION,
    "foreign_data_wrapper": WRAPPER,
    "server": SERVER,
    "user_mapping": USER_MAPPING,
    "collation": COLLATION,
    "text_search_dictionary": DICTIONARY,
    "text_search_configuration": CONFIGURATION,
    "base_type": BASE_TYPE,
    "enum": ENUM,
    "domain": DOMAIN,
    "composite": COMPOSITE,
    "range": RANGE,
    "function": FUNCTION,
    "procedure": FUNCTION,
    "aggregate": AGGREGATE,
    "operator": OPERATOR,
    "operator_class": OPERATOR_CLASS,
    "cast": CAST,
    "table": TABLE,
    "foreign_table": FOREIGN_TABLE,
    "column": COLUMN,
    "sequence": SEQUENCE,
    "default": DEFAULT,
    "view": VIEW,
    "matview": MATVIEW,
    "constraint": CONSTRAINT,
    "index": INDEX,
    "statistics": STATISTICS,
    "trigger": TRIGGER,
    "rule": RULE,
    "policy": POLICY,
    "event_trigger": EVENT_TRIGGER,
    "publication": PUBLICATION,
    "publication_table": PUBLICATION_TABLE,
    "default_privileges": DEFAULT_PRIVILEGES,
})  # fmt: skip
#: Told when they are gone: no command here makes them again.
NOT_MADE_AGAIN = frozenset({"operator_class", "base_type", "user_mapping"})
