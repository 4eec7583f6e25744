package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// objects are what kustomize makes of a folder, by kind and name.
type objects map[string]metav1.Object

// kustomize builds a folder of deploy/kubernetes. It decodes every object into its own type, and
// knows no other field.
func kustomize(t *testing.T, folder string) objects {
	t.Helper()
	out, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../deploy/kubernetes/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	for _, r := range out.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]metav1.Object{
			"v1 Secret":                               &corev1.Secret{},
			"v1 PersistentVolumeClaim":                &corev1.PersistentVolumeClaim{},
			"v1 Service":                              &corev1.Service{},
			"apps/v1 Deployment":                      &appsv1.Deployment{},
			"networking.k8s.io/v1 NetworkPolicy":      &networkingv1.NetworkPolicy{},
			"policy/v1 PodDisruptionBudget":           &policyv1.PodDisruptionBudget{},
			"cert-manager.io/v1 Certificate":          &certmanagerv1.Certificate{},
			"external-secrets.io/v1 ExternalSecret":   &unstructured.Unstructured{}, // its definition is checked below
			"monitoring.coreos.com/v1 ServiceMonitor": &monitoringv1.ServiceMonitor{},
		}
		into, ok := known[r.GetApiVersion()+" "+r.GetKind()]
		if !ok {
			t.Errorf("%s %s is not known here", r.GetApiVersion(), r.GetKind())
			continue
		}
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Errorf("%s %s: %v", r.GetKind(), r.GetName(), err)
		}
		if folder != "base" && strings.Contains(string(text), "REPLACE") {
			t.Errorf("something is not filled in:\n%s", text)
		}
		all[r.GetKind()+" "+r.GetName()] = into
	}
	return all
}

// object returns one of them.
func object[T metav1.Object](t *testing.T, b objects, name string) T {
	t.Helper()
	o, ok := b[name].(T)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return o
}

// TestKustomizeBase: kustomize takes the base, which is relay.yaml.
func TestKustomizeBase(t *testing.T) {
	base, m := kustomize(t, "base"), readManifest(t)
	if got := object[*appsv1.Deployment](t, base, "Deployment qrand-relay"); !reflect.DeepEqual(*got, m.deployment) {
		t.Error("the Deployment is another than in relay.yaml")
	}
	if want := len(m.secrets) + len(m.claims) + 3; len(base) != want {
		t.Errorf("%d objects, want %d", len(base), want)
	}
}

// TestKustomizeExample: with every component the objects fit together.
func TestKustomizeExample(t *testing.T) {
	all := kustomize(t, "example")
	for name, o := range all {
		if o.GetNamespace() != "entropy" {
			t.Errorf("%s is in namespace %q", name, o.GetNamespace())
		}
		if strings.HasPrefix(name, "Secret ") {
			t.Errorf("%s is there, although its content comes from elsewhere", name)
		}
	}
	spec := object[*appsv1.Deployment](t, all, "Deployment qrand-relay").Spec.Template
	if got := spec.Spec.Containers[0].Image; got != "registry.example/qrand:v1.0.0" {
		t.Errorf("the image is %s", got)
	}

	// What brings the Secrets of the volumes, with which keys.
	keys := map[string][]string{}
	definition := externalSecrets(t)
	for name, o := range all {
		if e, ok := o.(*unstructured.Unstructured); ok {
			definition.check(t, name, e.Object)
			target, _, _ := unstructured.NestedString(e.Object, "spec", "target", "name")
			data, _, _ := unstructured.NestedSlice(e.Object, "spec", "data")
			for _, d := range data {
				key, _, _ := unstructured.NestedString(d.(map[string]any), "secretKey")
				keys[target] = append(keys[target], key)
			}
		}
	}
	certificate := object[*certmanagerv1.Certificate](t, all, "Certificate qrand-relay").Spec
	keys[certificate.SecretName] = []string{"tls.crt", "tls.key"}
	text := strings.Join(spec.Spec.Containers[0].Args, " ") + " " + spec.Spec.Containers[0].Env[0].Value
	for _, v := range spec.Spec.Volumes {
		if v.Secret == nil {
			continue
		}
		if len(keys[v.Secret.SecretName]) == 0 {
			t.Errorf("nothing brings Secret %s", v.Secret.SecretName)
		}
		for _, key := range keys[v.Secret.SecretName] {
			if !strings.Contains(text, "/etc/qrand/"+v.Name+"/"+key) {
				t.Errorf("the relay does not read %s of Secret %s", key, v.Secret.SecretName)
			}
		}
	}
	host := "qrand-relay.entropy.svc"
	if !slices.Equal(certificate.DNSNames, []string{host}) || certificate.IssuerRef.Name == "" || !slices.Contains(certificate.Usages, certmanagerv1.UsageServerAuth) {
		t.Errorf("the certificate is %+v", certificate)
	}

	budget := object[*policyv1.PodDisruptionBudget](t, all, "PodDisruptionBudget qrand-relay").Spec
	selector, err := metav1.LabelSelectorAsSelector(budget.Selector)
	if err != nil || !selector.Matches(labels.Set(spec.Labels)) {
		t.Errorf("the PodDisruptionBudget does not select the Pod: %v", err)
	}
	if budget.MinAvailable != nil || budget.MaxUnavailable.IntValue() < 1 {
		t.Error("with one relay no node could be drained")
	}

	e := object[*monitoringv1.ServiceMonitor](t, all, "ServiceMonitor qrand-relay").Spec.Endpoints[0]
	if e.TLSConfig.ServerName == nil || *e.TLSConfig.ServerName != host || e.TLSConfig.CA.Secret.Name != certificate.SecretName {
		t.Errorf("Prometheus verifies %+v", e.TLSConfig)
	}
	admitted := object[*networkingv1.NetworkPolicy](t, all, "NetworkPolicy qrand-relay").Spec.Ingress[0].From
	if len(admitted) != 2 || admitted[1].NamespaceSelector == nil || admitted[1].PodSelector == nil {
		t.Errorf("the NetworkPolicy admits %+v, want clients and Prometheus", admitted)
	}
}

// externalSecretsModule has the definition of ExternalSecret. Its Go types need an older
// controller-runtime than other modules here do.
const externalSecretsModule = "github.com/external-secrets/external-secrets@v1.3.2"

// A definition is the schema of a kind, from its CustomResourceDefinition.
type definition struct {
	validator  validation.SchemaValidator
	structural *schema.Structural
}

// externalSecrets reads the definition of ExternalSecret, version v1.
func externalSecrets(t *testing.T) definition {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", externalSecretsModule).Output()
	var module struct{ Dir, Error string }
	if json.Unmarshal(out, &module) != nil || err != nil {
		t.Fatalf("go mod download %s: %v %s", externalSecretsModule, err, module.Error)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "config/crds/bases/external-secrets.io_externalsecrets.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	for _, v := range crd.Spec.Versions {
		if v.Name != "v1" || !v.Served {
			continue
		}
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			t.Fatal(err)
		}
		validator, _, err := validation.NewSchemaValidator(&props)
		if err != nil {
			t.Fatal(err)
		}
		structural, err := schema.NewStructural(&props)
		if err != nil {
			t.Fatal(err)
		}
		return definition{validator, structural}
	}
	t.Fatal("version v1 is not served")
	return definition{}
}

// check checks an object as the API server does, and knows no other field.
func (d definition) check(t *testing.T, name string, object map[string]any) {
	t.Helper()
	for _, err := range validation.ValidateCustomResource(nil, object, d.validator) {
		t.Errorf("%s: %v", name, err)
	}
	unknown := pruning.PruneWithOptions(object, d.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		t.Errorf("%s has unknown fields: %v", name, unknown)
	}
}
