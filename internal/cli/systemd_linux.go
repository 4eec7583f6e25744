package cli

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells systemd that the program is ready, if it was started by a unit with Type=notify:
// sd_notify(3).
func Ready() error {
	if _, err := daemon.SdNotify(true, daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("systemd cannot be told that this program is ready: %w (if systemd did not start it, unset NOTIFY_SOCKET)", err)
	}
	return nil
}
