# Sourced by the scripts: checks that tools are there, installs them where that is simply allowed.
# shellcheck shell=bash

# need TOOL PACKAGE [TOOL PACKAGE ...]: each TOOL must be a command; PACKAGE is Debian's name for
# what brings it. As root on a Debian-like machine what is missing is installed by apt-get (not with
# PELTON_NO_INSTALL=1); anywhere else the script ends and says exactly what to install.
need() {
    local tools=() packages=()
    while [ $# -gt 0 ]; do
        if ! command -v "$1" >/dev/null 2>&1; then
            tools+=("$1")
            packages+=("$2")
        fi
        shift 2
    done
    [ ${#tools[@]} -gt 0 ] || return 0
    echo "missing: ${tools[*]}" >&2
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && [ "${PELTON_NO_INSTALL:-}" != 1 ]; then
        echo "installing: apt-get install ${packages[*]}" >&2
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
    else
        echo "install it first, on Debian or Ubuntu: sudo apt-get install ${packages[*]}" >&2
        return 1
    fi
}

# need_rust: cargo with rustfmt and clippy, from rustup (rust-toolchain version: see Cargo.toml).
need_rust() {
    if ! command -v cargo >/dev/null 2>&1; then
        echo "missing: cargo; install Rust 1.95 or newer with rustup (https://rustup.rs)" >&2
        return 1
    fi
}

# need_build: what compiles librdkafka, OpenSSL and zstd from their bundled sources.
need_build() {
    need_rust && need cc gcc c++ g++ make make perl perl
}
