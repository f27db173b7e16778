# The plugin's root file system: one static binary and the folders that dockerd mounts into.
# `make build` runs this and unpacks the result to plugin/rootfs.
ARG RUST_IMAGE=rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src

# amd64 or arm64; the machine's own where it is empty. For another one the base image gets that target, and a cross compiler.
ARG ARCH=
COPY plugin/compile.sh plugin/
RUN target=$(ARCH=$ARCH sh plugin/compile.sh --target) && \
    if [ "$target" != "$(rustc -vV | sed -n 's/^host: //p')" ]; then \
        rustup target add "$target" && apt-get update && \
        apt-get install -y --no-install-recommends "gcc-$(echo "$target" | sed 's/-unknown//; s/_/-/')" "libc6-dev-$ARCH-cross"; \
    fi

# The dependencies alone first, with an empty crate: this layer is kept until Cargo.lock or the flags change.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY patch patch
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs && sh plugin/compile.sh

# `img-authz help` has the documents in it. The sources keep the dates of the checkout, which may be older than the empty crate's:
# `touch` says that they are new.
COPY docs docs
COPY src src
COPY plugin/order.txt plugin/
RUN touch src/lib.rs src/main.rs && sh plugin/compile.sh && sh plugin/compile.sh --rootfs /rootfs

FROM scratch
COPY --from=build /rootfs /
ENTRYPOINT ["/img-authz", "serve"]
