package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// A manifest is deploy/kubernetes/base/relay.yaml, decoded.
type manifest struct {
	secrets    map[string]corev1.Secret
	claims     map[string]corev1.PersistentVolumeClaim
	deployment appsv1.Deployment
	service    corev1.Service
	policy     networkingv1.NetworkPolicy
}

// readManifest decodes every object into its own type, and knows no other field.
func readManifest(t *testing.T) manifest {
	t.Helper()
	text, err := os.ReadFile("../../deploy/kubernetes/base/relay.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := manifest{secrets: map[string]corev1.Secret{}, claims: map[string]corev1.PersistentVolumeClaim{}}
	docs := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer docs.Close()
	for {
		doc := make([]byte, len(text))
		n, err := docs.Read(doc)
		if errors.Is(err, io.EOF) {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		doc = doc[:n]
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		decode := func(into any) {
			t.Helper()
			if err := yaml.UnmarshalStrict(doc, into); err != nil {
				t.Fatalf("%s: %v", kind.Kind, err)
			}
		}
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 Secret":
			var s corev1.Secret
			decode(&s)
			m.secrets[s.Name] = s
		case "v1 PersistentVolumeClaim":
			var c corev1.PersistentVolumeClaim
			decode(&c)
			m.claims[c.Name] = c
		case "apps/v1 Deployment":
			decode(&m.deployment)
		case "v1 Service":
			decode(&m.service)
		case "networking.k8s.io/v1 NetworkPolicy":
			decode(&m.policy)
		default:
			t.Errorf("%s %s is not known here", kind.APIVersion, kind.Kind)
		}
	}
}

// TestKubernetes: the objects fit together, and the Pod has no privilege.
func TestKubernetes(t *testing.T) {
	m := readManifest(t)
	spec := m.deployment.Spec.Template.Spec
	pod := labels.Set(m.deployment.Spec.Template.Labels)
	for what, selector := range map[string]map[string]string{
		"Deployment": m.deployment.Spec.Selector.MatchLabels, "Service": m.service.Spec.Selector, "NetworkPolicy": m.policy.Spec.PodSelector.MatchLabels,
	} {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(pod) {
			t.Errorf("the %s's selector %v does not select the Pod", what, selector)
		}
	}
	if *m.deployment.Spec.Replicas != 1 || m.deployment.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Error("two relays may write one usage file")
	}
	if len(spec.Containers) != 1 {
		t.Fatalf("%d containers", len(spec.Containers))
	}
	relay := spec.Containers[0]

	volumes := map[string]bool{}
	for _, v := range spec.Volumes {
		volumes[v.Name] = true
		switch {
		case v.Secret != nil:
			if _, ok := m.secrets[v.Secret.SecretName]; !ok && v.Secret.SecretName != "qrand-relay-tls" {
				t.Errorf("there is no Secret %s", v.Secret.SecretName)
			}
			if mode := *v.Secret.DefaultMode; mode&0o007 != 0 {
				t.Errorf("everybody can read volume %s: %o", v.Name, mode)
			}
		case v.PersistentVolumeClaim != nil:
			if _, ok := m.claims[v.PersistentVolumeClaim.ClaimName]; !ok {
				t.Errorf("there is no claim %s", v.PersistentVolumeClaim.ClaimName)
			}
		default:
			t.Errorf("volume %s is of a kind not known here", v.Name)
		}
	}
	for _, mount := range relay.VolumeMounts {
		if !volumes[mount.Name] {
			t.Errorf("there is no volume %s", mount.Name)
		}
		if strings.Contains(mount.MountPath, "/etc/") != mount.ReadOnly || mount.SubPath != "" {
			t.Errorf("mount %s: want secrets read-only, and whole, for a subPath is never renewed", mount.Name)
		}
	}
	for _, name := range []string{"qrand-relay-account", "qrand-relay-clients"} {
		for key, value := range m.secrets[name].StringData {
			if !strings.Contains(value, "REPLACE") && !strings.Contains(value, `"clients": []`) {
				t.Errorf("%s of %s is not for its user to fill in", key, name)
			}
		}
	}

	ports := map[string]int32{}
	for _, p := range relay.Ports {
		ports[p.Name] = p.ContainerPort
	}
	port := func(where string, p intstr.IntOrString) {
		if ports[p.StrVal] != 8443 {
			t.Errorf("%s names port %v", where, p)
		}
	}
	port("the Service", m.service.Spec.Ports[0].TargetPort)
	port("the NetworkPolicy", *m.policy.Spec.Ingress[0].Ports[0].Port)
	for path, probe := range map[string]*corev1.Probe{"/readyz": relay.ReadinessProbe, "/healthz": relay.LivenessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Scheme != corev1.URISchemeHTTPS {
			t.Errorf("no probe asks %s over HTTPS", path)
			continue
		}
		port("the probe of "+path, probe.HTTPGet.Port)
	}
	// qrand relay takes up to 20 s to end.
	if grace := *spec.TerminationGracePeriodSeconds - relay.Lifecycle.PreStop.Sleep.Seconds; grace <= 20 {
		t.Errorf("the relay is killed after %d s", grace)
	}

	can := relay.SecurityContext
	if *can.AllowPrivilegeEscalation || !*can.ReadOnlyRootFilesystem || !slices.Equal(can.Capabilities.Drop, []corev1.Capability{"ALL"}) || can.Capabilities.Add != nil {
		t.Error("the container may more than it needs")
	}
	if in := spec.SecurityContext; !*in.RunAsNonRoot || *in.RunAsUser == 0 || in.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *spec.AutomountServiceAccountToken {
		t.Error("the Pod may more than it needs")
	}
	if in := spec.SecurityContext; in.FSGroup == nil || *in.FSGroup != *in.RunAsGroup {
		t.Error("the relay cannot read its Secrets, which are their group's")
	}
	if request, limit := relay.Resources.Requests.Memory(), relay.Resources.Limits.Memory(); request.IsZero() || !request.Equal(*limit) {
		t.Errorf("memory of %v to %v: the kubelet may swap it", request, limit)
	}
}
