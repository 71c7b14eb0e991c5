"""What the README's tour needs of grpcurl: `grpcurl -plaintext -d JSON ADDRESS SERVICE/METHOD` for calls with one answer.
Learns the contract by reflection, prints the answer as JSON, and exits with 1 after an error status."""

import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

_, _, data, address, name = sys.argv[1:]
service, method = name.split("/")
channel = grpc.insecure_channel(address)
pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
described = pool.FindServiceByName(service).FindMethodByName(method)
request = json_format.Parse(data, message_factory.GetMessageClass(described.input_type)())
answer = message_factory.GetMessageClass(described.output_type)
rpc = channel.unary_unary(
    f"/{service}/{method}",
    request_serializer=lambda message: message.SerializeToString(),
    response_deserializer=answer.FromString,
)
try:
    print(json_format.MessageToJson(rpc(request, timeout=10)))
except grpc.RpcError as error:
    sys.exit(f"{error.code().name}: {error.details()}")
