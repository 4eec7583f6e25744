// Command vault stands in for the command of Vault (and bao, OpenBao's): it takes the same
// arguments, but has the PKI secrets engine in itself, which is Vault's own. Its storage is the
// folder storage.
//
//	vault secrets enable pki
//	vault write [-field=NAME] pki/PATH [KEY=VALUE | KEY=@FILE]...
//	vault read [-field=NAME] pki/PATH
//
// It is that of Vault 1.14, the last under the Mozilla Public License, from which OpenBao began.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	kvbuilder "github.com/hashicorp/go-secure-stdlib/kv-builder"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if strings.Join(args, " ") == "secrets enable pki" {
		return os.Mkdir("storage", 0o700)
	}
	if len(args) == 0 || args[0] != "write" && args[0] != "read" {
		return errors.New("only secrets enable pki, write and read are here")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	field := flags.String("field", "", "print only this field")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	path, found := strings.CutPrefix(flags.Arg(0), "pki/")
	if !found {
		return errors.New("only pki/ is here")
	}
	request := &logical.Request{Operation: logical.ReadOperation, Path: path, MountPoint: "pki/"}
	if args[0] == "write" {
		var data kvbuilder.Builder
		if err := data.Add(flags.Args()[1:]...); err != nil {
			return err
		}
		request.Operation, request.Data = logical.UpdateOperation, data.Map()
	}

	if _, err := os.Stat("storage"); err != nil {
		return fmt.Errorf("no secrets engine is enabled: %w", err)
	}
	disk, err := file.NewFileBackend(map[string]string{"path": "storage"}, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	request.Storage = logical.NewLogicalStorage(disk)
	engine, err := pki.Factory(ctx, &logical.BackendConfig{
		StorageView: request.Storage, Logger: hclog.NewNullLogger(), Config: map[string]string{},
		System: logical.StaticSystemView{DefaultLeaseTTLVal: 768 * time.Hour, MaxLeaseTTLVal: 768 * time.Hour}, // Vault's defaults
	})
	if err != nil {
		return err
	}
	if err := engine.Initialize(ctx, &logical.InitializationRequest{Storage: request.Storage}); err != nil {
		return err
	}
	response, err := engine.HandleRequest(ctx, request)
	switch {
	case response != nil && response.IsError():
		return response.Error()
	case err != nil:
		return err
	case response == nil:
		return nil
	}
	for _, warning := range response.Warnings {
		fmt.Fprintln(os.Stderr, "vault:", warning)
	}
	if *field != "" {
		fmt.Println(response.Data[*field])
		return nil
	}
	text, err := json.MarshalIndent(response.Data, "", "  ")
	if err == nil {
		fmt.Println(string(text))
	}
	return err
}
