"""Tells an authorizer what each role may do."""

from collections.abc import Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest

from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import reason_of
from unjoin.host.kafka import KafkaUnavailable
from unjoin.kafka_rights import USERS, Rule, rules

# Source of the numbers: Kafka, clients/src/main/java/org/apache/kafka/common/{acl,resource}/*.java.
_KIND = {"topic": 2, "group": 3}
_OPERATION = {
    "Read": 3, "Write": 4, "Create": 5, "Alter": 7, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11,
}  # fmt: skip
_LITERAL, _PREFIXED = 3, 4
_ALLOW = 3
_ANY_HOST = "*"


async def grant_rights(access: KafkaAccess, principal: str) -> int:
    """Adds every rule of `unjoin.kafka_rights`, and takes none away; gives their number.

    Args:
        access: of a user that may alter the cluster.
        principal: of a role's user, `{user}` in it for the role, as `User:unjoin-{user}`.

    Raises:
        KafkaUnavailable: the principal names no role, or the brokers refuse.
    """
    principals = {user: principal.replace("{user}", user) for user in USERS}
    if len(set(principals.values())) < len(USERS) or not principal.startswith("User:"):
        raise KafkaUnavailable("--acls: name a principal that holds {user}, as User:unjoin-{user}")
    admin = AIOKafkaAdminClient(**access.client())
    wanted = list(rules())
    try:
        await admin.start()
        answer = await admin._send_request(_AddRules([(rule, principals[rule.user]) for rule in wanted]))
        for code, _ in answer.creation_responses:
            if code:
                raise for_code(code)
    except KafkaError as error:
        raise KafkaUnavailable(f"Kafka did not add the rules: {await reason_of(error, access)}") from None
    finally:
        await admin.close()
    return len(wanted)


class _AddRules(CreateAclsRequest):  # type: ignore[misc]  # aiokafka has no types
    """All rules in one request; aiokafka 0.14 puts one into each."""

    def __init__(self, wanted: Sequence[tuple[Rule, str]]) -> None:
        self._wanted = wanted

    def build(self, request_struct_class: Any) -> Any:
        """The request as the broker reads it, from version 1 on."""
        return request_struct_class(
            [
                (
                    _KIND[rule.kind],
                    rule.name,
                    _PREFIXED if rule.prefix else _LITERAL,
                    principal,
                    _ANY_HOST,
                    _OPERATION[rule.operation],
                    _ALLOW,
                )
                for rule, principal in self._wanted
            ]
        )
