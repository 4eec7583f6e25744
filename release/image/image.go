// Command image packs the program qrand and the certificates of CAs into an image, from scratch:
// without a base image, a daemon or a network. The file is one for docker load.
//
//	SOURCE_DATE_EPOCH=... image -version v1.2.3 -arch amd64 -o qrand.image.tar qrand LICENSE...
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"flag"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("image: ")
	version := flag.String("version", "", "the `VERSION`, which is also the image's tag")
	arch := flag.String("arch", "", "the `GOARCH` of the program")
	out := flag.String("o", "", "the `FILE` of the image")
	flag.Parse()
	if err := write(*out, *version, *arch, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func write(out, version, arch string, paths []string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return err
	}
	created := time.Unix(seconds, 0).UTC()
	files, err := layer(created, paths)
	if err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil })
	if err != nil {
		return err
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: created}, CreatedBy: "release/build"}})
	if err != nil {
		return err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", arch, v1.Time{Time: created}
	file.Config = v1.Config{ // as in deploy/docker/Dockerfile
		User:         "65532:65532",
		ExposedPorts: map[string]struct{}{"8443/tcp": {}},
		Entrypoint:   []string{"/qrand"},
		Cmd:          []string{"relay", "--help"},
		Labels:       map[string]string{"org.opencontainers.image.title": "qrand", "org.opencontainers.image.version": version},
	}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return err
	}
	tag, err := name.NewTag("qrand:"+strings.ReplaceAll(version, "+", "_"), name.WithDefaultRegistry(""))
	if err != nil {
		return err
	}
	return tarball.WriteToFile(out, tag, img)
}

// layer returns a tar file of all that is in the image.
func layer(created time.Time, paths []string) ([]byte, error) {
	var roots bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil { // a file of PEM cannot say from when on a CA is not trusted
			pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	type file struct {
		name    string
		mode    int64
		content []byte
	}
	files := []file{
		{"etc/", 0o755, nil},
		{"etc/ssl/", 0o755, nil},
		{"etc/ssl/certs/", 0o755, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, roots.Bytes()},
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, file{filepath.Base(path), int64(info.Mode().Perm()), content})
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: created}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
