"""Uses the service with nothing but its address: lists the services by reflection, sets stock, takes some, is refused,
and reads the ledger."""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, site = sys.argv[1:3]
channel = grpc.insecure_channel(address)
database = ProtoReflectionDescriptorDatabase(channel)
services = set(database.get_services())
for name in ("Availability", "Stock", "Ledger", "Site"):
    assert f"inventory.v1.{name}Service" in services, services
pool = descriptor_pool.DescriptorPool(database)


def call(service, method, **fields):
    described = pool.FindServiceByName(f"inventory.v1.{service}").FindMethodByName(method)
    request = message_factory.GetMessageClass(described.input_type)(**fields)
    answer = message_factory.GetMessageClass(described.output_type)
    rpc = channel.unary_unary(
        f"/inventory.v1.{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return rpc(request, timeout=5)


health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
assert health.status == health_pb2.HealthCheckResponse.SERVING, health

# The app id is the catalog of the Rust tests, so that they can read the level.
reference = {"app_id": "cccccccc-0000-4000-8000-000000000001", "catalog_item_id": "from-python"}
item = {"catalog_reference": reference}
answer = call("StockService", "SetStock", site_id=site, items=[{**item, "available": 7}], request_id="set")
assert answer.sequence == 1, answer

order = "dddddddd-0000-4000-8000-000000000001"
take = dict(site_id=site, order_id=order, reason=1)
answer = call(
    "AvailabilityService", "DecrementAvailability", items=[{**item, "quantity": 2}], request_id="take", **take
)
assert (answer.sequence, answer.levels[0].available) == (2, 5), answer

try:
    call("AvailabilityService", "DecrementAvailability", items=[{**item, "quantity": 6}], request_id="more", **take)
    raise AssertionError("6 pieces were sold, but only 5 are available")
except grpc.RpcError as refused:
    assert refused.code() == grpc.StatusCode.FAILED_PRECONDITION, refused

answer = call("LedgerService", "ListEntries", site_id=site, order_id=order)
assert [(entry.sequence, entry.delta, entry.level_after) for entry in answer.entries] == [(2, -2, 5)], answer
