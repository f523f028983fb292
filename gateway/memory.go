package main

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// loadMemory is what the garbage collector gives an import, in bytes: up to some
// 600 MB live while tables are built and merged, whatever the size of the sources,
// and half as much would have it collect all the time, which doubles the work.
const loadMemory = 1 << 30

// limitLoadMemory keeps an import small on a large machine, unless GOMEMLIMIT
// says, until the function that it gives is called.
func limitLoadMemory(lookup func(string) (string, bool)) (restore func()) {
	if _, set := lookup("GOMEMLIMIT"); set {
		return func() {}
	}
	percent := debug.SetGCPercent(100)
	limit := debug.SetMemoryLimit(-1)
	debug.SetMemoryLimit(min(loadMemory, limit))
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// garbagePercent lets garbage grow to three times what lives: a gateway lives in
// some thirty megabytes, and collecting less often is worth more than the rest.
const garbagePercent = 300

// limitMemory tells the garbage collector how often to work, unless GOGC says,
// and how much memory there is: three quarters of the machine's or the
// container's, unless GOMEMLIMIT says.
func limitMemory(lookup func(string) (string, bool)) {
	if _, set := lookup("GOGC"); !set {
		debug.SetGCPercent(garbagePercent)
	}
	if _, set := lookup("GOMEMLIMIT"); set {
		return
	}
	limit := machineMemory()
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && (limit == 0 || n < limit) {
			limit = n
		}
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit / 4 * 3)
	}
}

// machineMemory gives the bytes of memory of a Linux machine, 0 elsewhere.
func machineMemory() int64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
