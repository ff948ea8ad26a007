# In front of every scriptlet of both packages. POSIX shell; every tool may be missing, as in a chroot or a container.

UNITS="slipstream-job-server.service slipstream-job-executor.service slipstream-job-distributor@*.service"
# There after an upgrade from the original, with the units that were stopped, if any were, to be started as ours.
NOTED=/run/slipstream-job-engine.restart
ORIGINAL=/opt/slipstream/job/sbin/job_executor.py

warn() {
    echo "slipstream-job-engine: $*" >&2
}

has_systemd() {
    [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1
}

# Active units, the server first: in this order they are started.
active_units() {
    has_systemd || return 0
    # shellcheck disable=SC2086 # a list of patterns
    systemctl list-units --plain --no-legend --state=active,activating,reloading $UNITS 2>/dev/null |
        sed -n 's/^\(slipstream-job-[^ ]*\).*/\1/p' | sort -r
}

# User, folders and the link for the original's name of the folder of logs.
set_up() {
    if command -v systemd-sysusers >/dev/null 2>&1; then
        systemd-sysusers /usr/lib/sysusers.d/slipstream-job-engine.conf 2>/dev/null || :
    fi
    # systemd 239 knows no shells
    getent group slipstream >/dev/null 2>&1 || groupadd --system slipstream || :
    getent passwd slipstream >/dev/null 2>&1 ||
        useradd --system --gid slipstream --home-dir /var/lib/slipstream --no-create-home --shell /bin/bash \
            --comment "SlipStream services" slipstream || :
    # a package manager cannot replace a folder by a link
    if [ -d /var/log/slipstream/job ] && [ ! -L /var/log/slipstream/job ]; then
        mkdir -p /var/log/slipstream/log
        find /var/log/slipstream/job -mindepth 1 -maxdepth 1 -exec mv -n -t /var/log/slipstream/log {} + || :
        rmdir /var/log/slipstream/job 2>/dev/null || warn "/var/log/slipstream/job is not empty and stays a folder"
    fi
    if ! { command -v systemd-tmpfiles >/dev/null 2>&1 &&
        systemd-tmpfiles --create /usr/lib/tmpfiles.d/slipstream-job-engine.conf 2>/dev/null; }; then
        install -d -m 0750 -g slipstream /etc/slipstream /etc/slipstream/job-engine.d || :
        chgrp slipstream /etc/slipstream/job-engine.toml 2>/dev/null || :
        install -d -m 0750 -o slipstream -g slipstream /var/lib/slipstream || :
        install -d -m 0755 -o slipstream -g slipstream /var/log/slipstream /var/log/slipstream/log || :
        [ -e /var/log/slipstream/job ] || ln -s log /var/log/slipstream/job || :
    fi
}

# The original did one job at a time unless --threads said otherwise; our configuration begins with more.
keep_threads() {
    own=/etc/slipstream/job-engine.d/original.toml
    { [ -e "$NOTED" ] && [ ! -e "$own" ]; } || return 0
    printf '%s\n' '# The original engine did one job at a time, unless DAEMON_ARGS had --threads.' '[executor]' 'threads = 1' \
        >"$own" && chmod 0640 "$own" && chgrp slipstream "$own" || :
}

# What an upgrade from the original leaves behind that somebody should look at.
warn_after_original() {
    [ -e "$NOTED" ] || return 0
    rm -f "$NOTED"
    for file in /etc/default/slipstream-job-executor /etc/default/slipstream-job-distributor; do
        [ -f "$file" ] || continue
        if grep -q -e '--ss-pass[= ]' "$file" && [ -n "$(find "$file" -perm -o+r 2>/dev/null)" ]; then
            warn "$file has a password in it and can be read by everybody: chmod 0640 $file"
        fi
        value=$(sed -n "s/^[[:space:]]*DAEMON_ARGS=['\"]\{0,1\}\(.*\)\$/\1/p" "$file" | sed "s/['\"][[:space:]]*\$//" | tail -n 1)
        case $value in
        *[\'\"\\]*) warn "$file has a quote or a backslash in DAEMON_ARGS, which the original took literally and systemd does not" ;;
        esac
    done
}

reload() {
    if has_systemd; then
        systemctl daemon-reload || :
    fi
}

# Stops the original's units while they are still the original's: ours signal another process.
note_original() {
    [ -e "$ORIGINAL" ] || return 0
    units=$(active_units)
    printf '%s' "$units" >"$NOTED" || :
    [ -n "$units" ] || return 0
    # shellcheck disable=SC2086 # a list of units
    systemctl stop $units || :
}

# A stop may take minutes, and a package manager must not wait for it. The server last: asked first it would stop at once, and
# start again only after the executors, which its unit's order puts behind it, have stopped. They would end without it.
restart_running() {
    has_systemd || return 0
    systemctl daemon-reload || :
    if [ -s "$NOTED" ]; then
        # shellcheck disable=SC2046 # a list of units
        systemctl --no-block start $(cat "$NOTED") || :
        return 0
    fi
    for unit in $(active_units | sort); do
        systemctl --no-block restart "$unit" || :
    done
}

# Before the program is gone; waits for running jobs, as long as the units allow.
stop_all() {
    has_systemd || return 0
    for unit in $(active_units | sort); do
        systemctl stop "$unit" || :
    done
    # shellcheck disable=SC2046 # a list of units
    systemctl disable $(systemctl list-unit-files --plain --no-legend --state=enabled 'slipstream-job-*' 2>/dev/null |
        sed 's/ .*//') 2>/dev/null || :
}
