package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
)

// machine describes this machine in one line: figures mean nothing without it.
func machine() string {
	return fmt.Sprintf("%s, %d CPUs%s, %s/%s, %s",
		cpuName(), runtime.NumCPU(), vectors(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func cpuName() string {
	switch runtime.GOOS {
	case "linux":
		info, _ := os.ReadFile("/proc/cpuinfo")
		for line := range strings.Lines(string(info)) {
			key, value, _ := strings.Cut(line, ":")
			if strings.TrimSpace(key) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	case "darwin":
		if out, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
			return strings.TrimSpace(string(out))
		}
	}
	return "unnamed CPU"
}

// vectors names the widest vectors that ChaCha20 can use here.
func vectors() string {
	switch {
	case cpu.X86.HasAVX512F:
		return ", AVX-512"
	case cpu.X86.HasAVX2:
		return ", AVX2"
	}
	return ""
}

// load is the load average, if the system tells it.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(text)); len(fields) > 0 {
		return fields[0]
	}
	return "unknown"
}
