package reach

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-webauthn/webauthn/protocol"
	gofrs "github.com/gofrs/uuid/v5"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/securecookie"
	hashicorp "github.com/hashicorp/go-uuid"
	"github.com/hashicorp/vault/sdk/helper/certutil"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	libp2p "github.com/libp2p/go-libp2p/core/crypto"
	gonanoid "github.com/matoous/go-nanoid/v2"
	"github.com/miekg/dns"
	"github.com/nats-io/nkeys"
	"github.com/oklog/ulid/v2"
	"github.com/rs/xid"
	"github.com/segmentio/ksuid"
	"github.com/tink-crypto/tink-go/v2/subtle/random"
	"go.step.sm/crypto/keyutil"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/ssh"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	k8suuid "k8s.io/apimachinery/pkg/util/uuid"

	"example.com/qrand/keygen"
)

// A row of the table in docs/reach.md.
type row struct {
	module  string
	call    string
	make    func() (any, error)          // the call, which finds what it reads by itself
	main    answer                       // after rand.Reader = src in main
	replace answer                       // after replace.Reader(src) in main
	instead string                       // what to call, to be sure
	with    func(io.Reader) (any, error) // the same, which must take all from the reader
}

func rows() []row {
	k := newKeys()
	return []row{{
		"github.com/google/uuid", "`uuid.New()`, `uuid.NewV7()`",
		func() (any, error) { id := uuid.New(); return id[:], nil },
		none, all,
		"`uuid.SetRand(src)`, once", func(r io.Reader) (any, error) {
			uuid.SetRand(r)
			defer uuid.SetRand(nil)
			id := uuid.New()
			return id[:], nil
		},
	}, {
		"k8s.io/apimachinery", "`uuid.NewUUID()`",
		func() (any, error) { return string(k8suuid.NewUUID()), nil },
		none, all,
		"`SetRand(src)` of `github.com/google/uuid`", func(r io.Reader) (any, error) {
			uuid.SetRand(r)
			defer uuid.SetRand(nil)
			return string(k8suuid.NewUUID()), nil
		},
	}, {
		"github.com/gofrs/uuid/v5", "`uuid.NewV4()`",
		func() (any, error) { id, err := gofrs.NewV4(); return id.Bytes(), err },
		none, all,
		"`uuid.DefaultGenerator = uuid.NewGenWithOptions(uuid.WithRandomReader(src))`", func(r io.Reader) (any, error) {
			defer func(saved gofrs.Generator) { gofrs.DefaultGenerator = saved }(gofrs.DefaultGenerator)
			gofrs.DefaultGenerator = gofrs.NewGenWithOptions(gofrs.WithRandomReader(r))
			id, err := gofrs.NewV4()
			return id.Bytes(), err
		},
	}, {
		"github.com/hashicorp/go-uuid", "`uuid.GenerateUUID()`",
		func() (any, error) { return hashicorp.GenerateUUID() },
		all, all,
		"`uuid.GenerateUUIDWithReader(src)`", func(r io.Reader) (any, error) { return hashicorp.GenerateUUIDWithReader(r) },
	}, {
		"github.com/segmentio/ksuid", "`ksuid.New()`",
		func() (any, error) { return ksuid.New().Payload(), nil },
		none, all,
		"`ksuid.SetRand(src)`, once", func(r io.Reader) (any, error) {
			ksuid.SetRand(r)
			defer ksuid.SetRand(nil)
			return ksuid.New().Payload(), nil
		},
	}, {
		"github.com/oklog/ulid/v2", "`ulid.Make()`",
		func() (any, error) { return ulid.Make().Entropy(), nil },
		none, none,
		"`ulid.New(ms, src)`", func(r io.Reader) (any, error) { id, err := ulid.New(1, r); return id.Entropy(), err },
	}, {
		"github.com/rs/xid", "`xid.New()`",
		func() (any, error) { return xid.New().Bytes(), nil },
		none, none,
		"", nil,
	}, {
		"github.com/matoous/go-nanoid/v2", "`gonanoid.New()`",
		func() (any, error) { return gonanoid.New() },
		all, all,
		"", nil,
	}, {
		"github.com/gorilla/securecookie", "`securecookie.GenerateRandomKey(32)`",
		func() (any, error) { return securecookie.GenerateRandomKey(32), nil },
		all, all,
		"32 bytes of `src`", func(r io.Reader) (any, error) { return read(r, 32) },
	}, {
		"github.com/go-webauthn/webauthn", "`protocol.CreateChallenge()`",
		func() (any, error) { c, err := protocol.CreateChallenge(); return []byte(c), err },
		all, all,
		"", nil,
	}, {
		"github.com/golang-jwt/jwt/v5", "signing with ES256",
		func() (any, error) { return jwt.SigningMethodES256.Sign("text", k.ecdsa) },
		none, none,
		"", nil,
	}, {
		"github.com/golang-jwt/jwt/v5", "signing with PS256",
		func() (any, error) { return jwt.SigningMethodPS256.Sign("text", k.rsa) },
		all, all,
		"", nil,
	}, {
		"github.com/go-jose/go-jose/v4", "`Encrypt`, with a shared key",
		func() (any, error) {
			e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.A256GCMKW, Key: make([]byte, 32)}, nil)
			if err != nil {
				return nil, err
			}
			object, err := e.Encrypt([]byte("text"))
			if err != nil {
				return nil, err
			}
			return object.CompactSerialize()
		},
		none, all,
		"", nil,
	}, {
		"github.com/lestrrat-go/jwx/v3", "`jwe.Encrypt`, with a shared key",
		func() (any, error) {
			return jwe.Encrypt([]byte("text"), jwe.WithKey(jwa.A256GCMKW(), make([]byte, 32)))
		},
		all, all,
		"", nil,
	}, {
		"golang.org/x/crypto", "`box.GenerateKey(rand.Reader)`",
		func() (any, error) { _, key, err := box.GenerateKey(rand.Reader); return key[:], err },
		all, all,
		"`box.GenerateKey(src)`", func(r io.Reader) (any, error) { _, key, err := box.GenerateKey(r); return key[:], err },
	}, {
		"golang.org/x/crypto", "`bcrypt.GenerateFromPassword`",
		func() (any, error) { return bcrypt.GenerateFromPassword([]byte("password"), bcrypt.MinCost) },
		all, all,
		"", nil,
	}, {
		"golang.org/x/crypto", "`ssh`: a handshake of client and server",
		func() (any, error) { return handshake(rand.Reader, k.ed25519) },
		some, some,
		"no reader reaches its ML-KEM secret", nil,
	}, {
		"golang.org/x/crypto", "`(*ssh.Certificate).SignCert(rand.Reader, ca)`, an ECDSA key",
		func() (any, error) { return sshCertificate(rand.Reader, k.ecdsa) },
		some, some,
		"`SignCert(src, ca)`, an Ed25519 key", func(r io.Reader) (any, error) { return sshCertificate(r, k.ed25519) },
	}, {
		"github.com/ProtonMail/go-crypto", "`openpgp.NewEntity(..., nil)`",
		func() (any, error) { return entity(nil) },
		all, all,
		"`&packet.Config{Rand: src}`", func(r io.Reader) (any, error) { return entity(r) },
	}, {
		"filippo.io/age", "`age.GenerateX25519Identity()`",
		func() (any, error) {
			id, err := age.GenerateX25519Identity()
			if err != nil {
				return nil, err
			}
			return id.String(), nil
		},
		all, all,
		"", nil,
	}, {
		"filippo.io/age", "`age.Encrypt`, to an X25519 recipient",
		func() (any, error) {
			var out bytes.Buffer
			w, err := age.Encrypt(&out, k.age.Recipient())
			if err != nil {
				return nil, err
			}
			return out.Bytes(), w.Close()
		},
		all, all,
		"", nil,
	}, {
		"filippo.io/age", "`age.GenerateHybridIdentity()`",
		func() (any, error) {
			id, err := age.GenerateHybridIdentity()
			if err != nil {
				return nil, err
			}
			return id.String(), nil
		},
		all, all,
		"", nil,
	}, {
		"github.com/hashicorp/vault/sdk", "`certutil.GeneratePrivateKey(\"ec\", 256, ...)`",
		func() (any, error) {
			var bundle certutil.ParsedCSRBundle
			err := certutil.GeneratePrivateKey("ec", 256, &bundle)
			return bundle.PrivateKeyBytes, err
		},
		none, none,
		"`keygen.ECDSA(curve, src)`", func(r io.Reader) (any, error) { return keygen.ECDSA(elliptic.P256(), r) },
	}, {
		"github.com/go-acme/lego/v4", "`certcrypto.GeneratePrivateKey(certcrypto.EC256)`",
		func() (any, error) { return certcrypto.GeneratePrivateKey(certcrypto.EC256) },
		none, none,
		"`keygen.ECDSA(curve, src)`, as the `PrivateKey` of the request", func(r io.Reader) (any, error) { return keygen.ECDSA(elliptic.P256(), r) },
	}, {
		"go.step.sm/crypto", "`keyutil.GenerateKey(\"EC\", \"P-256\", 0)`",
		func() (any, error) { return keyutil.GenerateKey("EC", "P-256", 0) },
		none, none,
		"`keygen.ECDSA(curve, src)`", func(r io.Reader) (any, error) { return keygen.ECDSA(elliptic.P256(), r) },
	}, {
		"go.step.sm/crypto", "`keyutil.GenerateKey(\"OKP\", \"Ed25519\", 0)`",
		func() (any, error) { return keyutil.GenerateKey("OKP", "Ed25519", 0) },
		all, all,
		"`keygen.Ed25519(src)`", func(r io.Reader) (any, error) { return keygen.Ed25519(r) },
	}, {
		"github.com/cloudflare/circl", "`mldsa65.GenerateKey(nil)`",
		func() (any, error) { _, key, err := mldsa65.GenerateKey(nil); return key, err },
		all, all,
		"`mldsa65.GenerateKey(src)`", func(r io.Reader) (any, error) { _, key, err := mldsa65.GenerateKey(r); return key, err },
	}, {
		"github.com/tink-crypto/tink-go/v2", "`random.GetRandomBytes(32)`, which makes its keys and nonces",
		func() (any, error) { return random.GetRandomBytes(32), nil },
		all, all,
		"", nil,
	}, {
		"github.com/btcsuite/btcd/btcec/v2", "`btcec.NewPrivateKey()`",
		func() (any, error) {
			key, err := btcec.NewPrivateKey()
			if err != nil {
				return nil, err
			}
			return key.Serialize(), nil
		},
		all, all,
		"`secp256k1.GeneratePrivateKeyFromRand(src)`", secp256k1Key,
	}, {
		"github.com/decred/dcrd/dcrec/secp256k1/v4", "`secp256k1.GeneratePrivateKey()`",
		func() (any, error) {
			key, err := secp256k1.GeneratePrivateKey()
			if err != nil {
				return nil, err
			}
			return key.Serialize(), nil
		},
		all, all,
		"`secp256k1.GeneratePrivateKeyFromRand(src)`", secp256k1Key,
	}, {
		"github.com/libp2p/go-libp2p", "`crypto.GenerateECDSAKeyPair(rand.Reader)`",
		func() (any, error) { return raw(libp2p.GenerateECDSAKeyPair(rand.Reader)) },
		none, none,
		"`crypto.GenerateEd25519Key(src)`", func(r io.Reader) (any, error) { return raw(libp2p.GenerateEd25519Key(r)) },
	}, {
		"github.com/libp2p/go-libp2p", "`crypto.GenerateEd25519Key(rand.Reader)`",
		func() (any, error) { return raw(libp2p.GenerateEd25519Key(rand.Reader)) },
		all, all,
		"`crypto.GenerateEd25519Key(src)`", func(r io.Reader) (any, error) { return raw(libp2p.GenerateEd25519Key(r)) },
	}, {
		"github.com/miekg/dns", "`(*dns.DNSKEY).Generate(256)`, ECDSA",
		func() (any, error) {
			return (&dns.DNSKEY{Algorithm: dns.ECDSAP256SHA256}).Generate(256)
		},
		none, none,
		"`keygen.ECDSA(curve, src)`", func(r io.Reader) (any, error) { return keygen.ECDSA(elliptic.P256(), r) },
	}, {
		"github.com/nats-io/nkeys", "`nkeys.CreateUser()`",
		func() (any, error) { return seed(nkeys.CreateUser()) }, // ed25519.GenerateKey(nil)
		none, none,
		"`nkeys.CreatePairWithRand(prefix, src)`", func(r io.Reader) (any, error) {
			return seed(nkeys.CreatePairWithRand(nkeys.PrefixByteUser, r))
		},
	}, {
		"golang.zx2c4.com/wireguard/wgctrl", "`wgtypes.GeneratePrivateKey()`",
		func() (any, error) { key, err := wgtypes.GeneratePrivateKey(); return key[:], err },
		all, all,
		"`wgtypes.NewKey`, with 32 bytes of `src`", func(r io.Reader) (any, error) {
			p, err := read(r, 32)
			if err != nil {
				return nil, err
			}
			key, err := wgtypes.NewKey(p)
			return key[:], err
		},
	}}
}

func read(r io.Reader, n int) ([]byte, error) {
	p := make([]byte, n)
	_, err := io.ReadFull(r, p)
	return p, err
}

func secp256k1Key(r io.Reader) (any, error) {
	key, err := secp256k1.GeneratePrivateKeyFromRand(r)
	if err != nil {
		return nil, err
	}
	return key.Serialize(), nil
}

func raw(key libp2p.PrivKey, _ libp2p.PubKey, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return key.Raw()
}

func seed(pair nkeys.KeyPair, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return pair.Seed()
}

// entity makes a key of OpenPGP with the default algorithm of Config, at a fixed time.
func entity(r io.Reader) (any, error) {
	config := &packet.Config{Rand: r, Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Unix(1, 0) }}
	e, err := openpgp.NewEntity("name", "", "name@example.com", config)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = e.SerializePrivateWithoutSigning(&out, config)
	return out.Bytes(), err
}

func sshCertificate(r io.Reader, key crypto.Signer) (any, error) {
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, err
	}
	cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert}
	err = cert.SignCert(r, signer)
	return cert.Marshal(), err
}

// handshake returns what a client and a server of SSH agree on.
func handshake(r io.Reader, key crypto.Signer) (any, error) {
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // on a net.Pipe both would write first, and wait
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	ours, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	theirs, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	served := make(chan error, 1)
	go func() {
		defer theirs.Close()
		config := &ssh.ServerConfig{Config: ssh.Config{Rand: r}, NoClientAuth: true}
		config.AddHostKey(signer)
		conn, _, _, err := ssh.NewServerConn(theirs, config)
		if err == nil {
			conn.Wait()
		}
		served <- err
	}()
	conn, _, _, err := ssh.NewClientConn(ours, "", &ssh.ClientConfig{Config: ssh.Config{Rand: r}, HostKeyCallback: ssh.FixedHostKey(signer.PublicKey())})
	if err != nil {
		return nil, err
	}
	id := conn.SessionID()
	conn.Close()
	return id, errors.Join(err, <-served)
}

type keys struct {
	ecdsa   *ecdsa.PrivateKey
	rsa     *rsa.PrivateKey
	ed25519 ed25519.PrivateKey
	age     *age.X25519Identity
}

// newKeys makes keys to sign with.
func newKeys() (k keys) {
	var err [4]error
	k.ecdsa, err[0] = keygen.ECDSA(elliptic.P256(), mathrand.NewChaCha8([32]byte{1}))
	k.rsa, err[1] = keygen.RSA(2048, mathrand.NewChaCha8([32]byte{1}))
	k.ed25519, err[2] = keygen.Ed25519(mathrand.NewChaCha8([32]byte{1}))
	k.age, err[3] = age.GenerateX25519Identity()
	if err != [4]error{} {
		panic(err)
	}
	return k
}
