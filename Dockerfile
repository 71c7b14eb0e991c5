# Two images: the gRPC server with the operator's commands, and the adapter.
#
#   docker build --target inventory-grpc -t inventory-grpc .
#   docker build --target wix-adapter -t wix-adapter .
#   docker build --target debug --output debug .    # the debug information of these programs, to lie beside them
#
# The images hold one program each, and no shell. They run as the user 65532 and write to /var/lib/inventory alone, and
# `token create --file` to /run/inventory, so the root file system can be read-only. The ports are not on loopback, so a
# program starts only if it has TLS (TLS_CERT, TLS_KEY) or ALLOW_PLAINTEXT; compose.yaml says when that is right.

# It has a C compiler, and the headers of OpenSSL for libpq.
FROM rust:1.95-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY migrations migrations
COPY proto proto
COPY inventory-core inventory-core
COPY inventory-grpc inventory-grpc
COPY wix-adapter wix-adapter
# Cargo reads the manifest of every crate of the workspace.
COPY tests tests
# A program that a test could make fail would have the name of the variable for it. One of 40 MB would hold symbols, or
# something else that nobody needs in an image.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    CARGO_PROFILE_RELEASE_STRIP=none cargo build --release --locked --bins -p inventory-grpc -p wix-adapter \
    && mkdir -p /out/bin /out/debug /out/inventory \
    && for program in inventory-grpc wix-adapter; do \
        ! grep -q INVENTORY_FAULT_FILE "target/release/$program" \
        && objcopy --only-keep-debug --compress-debug-sections "target/release/$program" "/out/debug/$program.debug" \
        && objcopy --strip-all --add-gnu-debuglink="/out/debug/$program.debug" \
            "target/release/$program" "/out/bin/$program" \
        && test "$(stat --format=%s "/out/bin/$program")" -lt 40000000 || exit 1; \
    done

FROM scratch AS debug
COPY --from=build /out/debug /

# The C library, OpenSSL, certificates of authorities, and the user 65532.
FROM gcr.io/distroless/cc-debian13:nonroot AS base
# A volume that is mounted here for the first time gets the owner of these folders.
COPY --from=build --chown=65532:65532 /out/inventory /var/lib/inventory
COPY --from=build --chown=65532:65532 /out/inventory /run/inventory
WORKDIR /var/lib/inventory
USER 65532:65532
STOPSIGNAL SIGTERM

FROM base AS inventory-grpc
COPY --from=build /out/bin/inventory-grpc /usr/local/bin/inventory-grpc
ENV DATABASE_URL=sqlite:/var/lib/inventory/inventory.db GRPC_LISTEN=0.0.0.0:50051 ADMIN_LISTEN=0.0.0.0:9090
EXPOSE 50051 9090
# With TLS, set GRPC_UPSTREAM (https://NAME:50051, a name of the certificate that is this container's) and UPSTREAM_CA.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/usr/local/bin/inventory-grpc", "health"]
ENTRYPOINT ["/usr/local/bin/inventory-grpc"]
CMD ["serve"]

FROM base AS wix-adapter
COPY --from=build /out/bin/wix-adapter /usr/local/bin/wix-adapter
ENV HTTP_LISTEN=0.0.0.0:8080 ADMIN_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/usr/local/bin/wix-adapter", "health"]
ENTRYPOINT ["/usr/local/bin/wix-adapter"]
CMD ["serve"]
