# syntax=docker/dockerfile:1

# The images of the operator and of the storage initializer: one static binary
# each, run by a user without an account.
#
#   make docker-build IMG=registry.example.org/serinus:v0.1.0
#   make docker-build IMAGE=storage-initializer IMG=registry.example.org/storage-initializer:v0.1.0

# The compiler runs on the platform of the builder and compiles for that of the
# image, so that no emulation is needed.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src

# Modules change less often than sources: this layer is kept as long as they do.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download

COPY api/ api/
COPY cmd/ cmd/
COPY internal/ internal/

ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev

FROM build AS build-storage-initializer
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -tags=disable_grpc_modules -ldflags "-s -w -X main.version=$VERSION" -o /out/storage-initializer ./cmd/storage-initializer

FROM scratch AS storage-initializer
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Serinus storage initializer" \
      org.opencontainers.image.description="Fetches models for KServe-style InferenceServices" \
      org.opencontainers.image.source="https://github.com/serinus-io/serinus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build-storage-initializer /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /LICENSE
COPY --from=build-storage-initializer /out/storage-initializer /storage-initializer
USER 65532:65532
ENTRYPOINT ["/storage-initializer"]

FROM build AS build-manager
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/manager ./cmd/manager

FROM scratch AS manager
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Serinus" \
      org.opencontainers.image.description="Canary releases for KServe-style InferenceServices" \
      org.opencontainers.image.source="https://github.com/serinus-io/serinus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build-manager /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /LICENSE
COPY --from=build-manager /out/manager /manager
# Numeric, so that the kubelet can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/manager"]
