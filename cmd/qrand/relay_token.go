package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"example.com/qrand/internal/relaycmd"
	"example.com/qrand/relay/clients"
)

// newRelayTokenCommand makes the commands for a relay's list of clients. The root
// gives defaults only to its own commands, so this gives them to these.
func newRelayTokenCommand(c *console) *cobra.Command {
	file := relaycmd.ClientsFile(c.getenv)
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Manage the clients of a relay: who may ask, for how much",
		Long: `Makes, lists and revokes the tokens with which clients ask a relay. The clients
are in the file that --clients names, or QRAND_RELAY_CLIENTS. The file has only
the SHA-256 of each token. A running relay applies changes in a few seconds.`,
		Example: `  TOKEN=$(qrand relay token new web-1 --expires 90d --quota 10MiB/24h)
  qrand relay token list
  qrand relay token revoke web-1`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&file, "clients", file, "the list of clients is this `FILE`")
	for _, sub := range []*cobra.Command{newRelayTokenNewCommand(c, &file), newRelayTokenListCommand(c, &file), newRelayTokenRevokeCommand(c, &file)} {
		sub.DisableFlagsInUseLine = true
		sub.Flags().SortFlags = false
		cmd.AddCommand(sub)
	}
	return cmd
}

func newRelayTokenNewCommand(c *console, file *string) *cobra.Command {
	var client clients.Client
	var expires, bandwidth, quota string
	cmd := &cobra.Command{
		Use:   "new NAME [flags]",
		Short: "Make a token for a new client",
		Long: `Adds a client to the list, and prints its token and nothing else. If there is no
list, the command makes it. The token is shown this once: the list has only its
SHA-256.

A client may take --bandwidth bytes of entropy a second, on average. At once it
may take as much as in 10 s, or 512 KiB if that is more.

A quota is a number of bytes of entropy in a period, as in 10MiB/24h. Periods
are counted from 1970-01-01 00:00 UTC, not from the client's first request. A
period of 24h begins at midnight UTC, and so does one that divides a day.

With --certificate the client has no token. It shows a certificate that the
relay verifies by TLS. Its DNS name (or common name, if it has no DNS name) must
be the one given.

With --operator the client gets no entropy, but may see the relay's metrics and
its status page.`,
		Example: `  TOKEN=$(qrand relay token new web-1)
  qrand relay token new web-2 --rate 10 --quota 10MiB/24h --expires 90d
  qrand relay token new many-hosts --rate 300 --bandwidth 256KiB
  qrand relay token new db --certificate db.internal.example
  qrand relay token new grafana --operator --expires 2027-01-01`,
		Args:              oneArgument,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 0 {
				return misused(cmd, "a client needs a name: qrand relay token new NAME")
			}
			client.Name = args[0]
			changed := cmd.Flags().Changed
			if changed("certificate") && client.Certificate == "" {
				return misused(cmd, "--certificate names no certificate: leave it out, and the client gets a token")
			}
			if changed("rate") && client.Rate != -1 && client.Rate < 1 {
				return misused(cmd, "--rate %d: give the number of requests in 10 s, 1 or more, or -1 for no limit", client.Rate)
			}
			if changed("expires") {
				if client.Expires, err = parseExpiry(expires, time.Now()); err != nil {
					return misused(cmd, "--expires %w", err)
				}
			}
			if changed("bandwidth") {
				if client.Operator {
					return misused(cmd, "--bandwidth and --operator: an operator gets no entropy")
				}
				if client.Bandwidth, err = parseBandwidth(bandwidth); err != nil {
					return misused(cmd, "--bandwidth %w", err)
				}
			}
			if changed("quota") {
				if client.Operator {
					return misused(cmd, "--quota and --operator: an operator gets no entropy")
				}
				if client.Quota, err = parseQuota(quota); err != nil {
					return misused(cmd, "--quota %w", err)
				}
			}
			return newRelayToken(c, *file, client)
		},
	}
	f := cmd.Flags()
	f.StringVar(&expires, "expires", "", "refuse it from this `TIME` on: a date, or 90d for 90 days from now (default never)")
	f.IntVar(&client.Rate, "rate", 0, "`N` requests in 10 s; -1: no limit (default 30)")
	f.StringVar(&bandwidth, "bandwidth", "", "`SIZE` of entropy a second, on average; none: no limit (default 64KiB)")
	f.StringVar(&quota, "quota", "", "`SIZE/PERIOD` of entropy at most (default no limit)")
	f.StringVar(&client.Certificate, "certificate", "", "no token: the client shows a certificate for this `NAME`")
	f.BoolVar(&client.Operator, "operator", false, "for the metrics and the status page, not for entropy")
	return cmd
}

func newRelayToken(c *console, file string, client clients.Client) error {
	token, err := clients.Add(file, client)
	if err != nil {
		return err
	}
	if client.Certificate != "" {
		c.note("%s is in %s, and shows a certificate for %s", client.Name, file, client.Certificate)
		return nil
	}
	if _, err := io.WriteString(c.out, token+"\n"); err != nil {
		// Nobody has seen the token, and its name would be in the way of the next try.
		return errors.Join(err, clients.Revoke(file, client.Name))
	}
	c.note("%s is in %s; its token is not shown again", client.Name, file)
	return nil
}

func newRelayTokenListCommand(c *console, file *string) *cobra.Command {
	var asJSON bool
	var usage string
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List the clients",
		Long: `Lists the clients that may ask the relay, and what each has used. The relay
writes that down every few seconds. USED is what the client has used in the
current period of its quota.`,
		Example: `  qrand relay token list
  qrand relay token list --json | \
    jq -r '.clients[] | select(.last_used == null) | .name'`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			all, err := clients.Read(*file, usage)
			if err != nil {
				return err
			}
			if asJSON {
				return writeClientsJSON(c.out, all)
			}
			return writeClients(c, all, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	cmd.Flags().StringVar(&usage, "usage-file", "", "what clients have used is in this `FILE` (default beside the list)")
	return cmd
}

func newRelayTokenRevokeCommand(c *console, file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revoke a client's token, or its certificate",
		Long: `Removes a client from the list. A running relay refuses it a few seconds later.
What the client has used stays on record: a new client with the same name has
what is left of the quota.`,
		Example: `  qrand relay token revoke web-1`,
		Args:    oneArgument,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			all, err := clients.Read(*file, "")
			if err == nil && len(args) == 0 {
				for _, client := range all {
					names = append(names, client.Name)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misused(cmd, "which client? qrand relay token list lists them")
			}
			err := clients.Revoke(*file, args[0])
			if errors.Is(err, clients.ErrUnknown) {
				return fmt.Errorf("%w in %s: qrand relay token list lists them", err, *file)
			}
			if err == nil {
				c.note("%s is no longer in %s", args[0], *file)
			}
			return err
		},
	}
}

// parseExpiry reads a date, a time, or a number of days from now.
func parseExpiry(text string, now time.Time) (t time.Time, err error) {
	if number, isDays := strings.CutSuffix(text, "d"); isDays {
		days, err := strconv.Atoi(number)
		if err != nil || days < 1 || days > maxDays {
			return t, fmt.Errorf("%q: write 1d to %dd", text, maxDays)
		}
		return now.Add(time.Duration(days) * 24 * time.Hour).Truncate(time.Second), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err = time.Parse(layout, text); err == nil {
			break
		}
	}
	if err != nil {
		return t, fmt.Errorf("%q: write it like 90d, 2027-01-31 or 2027-01-31T12:00:00Z", text)
	}
	if !t.After(now) {
		return t, fmt.Errorf("%q is in the past", text)
	}
	return t, nil
}

// parseBandwidth reads bytes a second such as 256KiB, or none.
func parseBandwidth(text string) (int64, error) {
	if text == "none" {
		return -1, nil
	}
	n, err := parseSize(text)
	if err != nil {
		return 0, fmt.Errorf("%q: write bytes a second, like 256KiB, or none for no limit", text)
	}
	return n, nil
}

// parseQuota reads a quota such as 10MiB/24h.
func parseQuota(text string) (q clients.Quota, err error) {
	size, period, _ := strings.Cut(text, "/")
	q.Period, err = time.ParseDuration(period)
	if err != nil || q.Period < time.Second {
		return q, fmt.Errorf("%q: write it like 10MiB/24h", text)
	}
	if q.Bytes, err = parseSize(size); err != nil {
		return q, fmt.Errorf("%q: %w", text, err)
	}
	return q, nil
}

func writeClients(c *console, all []clients.Status, now time.Time) error {
	t := &table{
		heads: []string{"NAME", "KIND", "RATE", "BANDWIDTH", "QUOTA", "USED", "TOTAL", "EXPIRES", "LAST USED"},
		right: []bool{false, false, true, true, true, true, true, false, false},
	}
	p := c.onOut()
	for _, client := range all {
		rate := "no limit"
		if client.Rate > 0 {
			rate = fmt.Sprintf("%d/10s", client.Rate)
		}
		bandwidth := "no limit"
		if client.Bandwidth > 0 {
			bandwidth = humanize.IBytes(uint64(client.Bandwidth)) + "/s"
		}
		quota, used := "no limit", "-"
		if client.Quota.Bytes > 0 {
			quota = humanize.IBytes(uint64(client.Quota.Bytes)) + "/" + client.Quota.PeriodString()
			used = humanize.IBytes(uint64(client.PeriodBytes))
		}
		total := humanize.IBytes(uint64(client.TotalBytes))
		if client.Operator {
			bandwidth, quota, used, total = "-", "-", "-", "-"
		}
		expires := cell{text: "never"}
		if !client.Expires.IsZero() {
			expires.text = day(client.Expires)
			if !now.Before(client.Expires) {
				expires = cell{"expired " + expires.text, p.red}
			}
		}
		last := "never"
		if !client.LastUsed.IsZero() {
			last = client.LastUsed.UTC().Format("2006-01-02 15:04 MST")
		}
		t.add(cell{text: client.Name}, cell{text: clientKind(client.Client)}, cell{text: rate}, cell{text: bandwidth}, cell{text: quota},
			cell{text: used}, cell{text: total}, expires, cell{text: last})
	}
	return t.print(c)
}

func clientKind(client clients.Client) string {
	switch {
	case client.Operator:
		return "operator"
	case client.Certificate != "":
		return "certificate"
	}
	return "token"
}

func writeClientsJSON(w io.Writer, all []clients.Status) error {
	type quota struct {
		Bytes  int64     `json:"bytes"`
		Period string    `json:"period"`
		Used   int64     `json:"used"`
		Ends   time.Time `json:"ends"`
	}
	type client struct {
		Name        string    `json:"name"`
		Kind        string    `json:"kind"`
		Certificate string    `json:"certificate,omitempty"`
		Created     time.Time `json:"created,omitzero"`
		Expires     time.Time `json:"expires,omitzero"`
		Rate        int       `json:"rate"`
		Bandwidth   int64     `json:"bandwidth,omitempty"`
		Quota       *quota    `json:"quota,omitempty"`
		TotalBytes  int64     `json:"total_bytes"`
		LastUsed    time.Time `json:"last_used,omitzero"`
	}
	list := struct {
		Clients []client `json:"clients"`
	}{[]client{}}
	for _, st := range all {
		cl := client{Name: st.Name, Kind: clientKind(st.Client), Certificate: st.Certificate, Created: st.Created, Expires: st.Expires, Rate: st.Rate, Bandwidth: st.Bandwidth, TotalBytes: st.TotalBytes, LastUsed: st.LastUsed}
		if st.Quota.Bytes > 0 {
			cl.Quota = &quota{st.Quota.Bytes, st.Quota.PeriodString(), st.PeriodBytes, st.PeriodEnds}
		}
		list.Clients = append(list.Clients, cl)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}
