package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const base = "../../deploy/kubernetes/base"

// kustomization is what we use of kustomize's own type.
type kustomization struct {
	metav1.TypeMeta    `json:",inline"`
	Namespace          string   `json:"namespace"`
	Resources          []string `json:"resources"`
	ConfigMapGenerator []struct {
		Name  string   `json:"name"`
		Files []string `json:"files"`
	} `json:"configMapGenerator"`
}

// monitor is what we use of the Prometheus operator's ServiceMonitor and PodMonitor.
type monitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		JobLabel            string               `json:"jobLabel"`
		Selector            metav1.LabelSelector `json:"selector"`
		Endpoints           []endpoint           `json:"endpoints,omitempty"`
		PodMetricsEndpoints []endpoint           `json:"podMetricsEndpoints,omitempty"`
	} `json:"spec"`
}

type endpoint struct {
	Port     string `json:"port"`
	Path     string `json:"path,omitempty"`
	Interval string `json:"interval"`
}

// newObject gives the Go type of a kind.
func newObject(t *testing.T, m metav1.TypeMeta) any {
	t.Helper()
	types := map[string]any{
		"v1/Namespace": &corev1.Namespace{}, "v1/ConfigMap": &corev1.ConfigMap{}, "v1/Service": &corev1.Service{},
		"v1/ServiceAccount":  &corev1.ServiceAccount{},
		"apps/v1/Deployment": &appsv1.Deployment{}, "apps/v1/StatefulSet": &appsv1.StatefulSet{},
		"policy/v1/PodDisruptionBudget":                 &policyv1.PodDisruptionBudget{},
		"autoscaling/v2/HorizontalPodAutoscaler":        &autoscalingv2.HorizontalPodAutoscaler{},
		"monitoring.coreos.com/v1/ServiceMonitor":       &monitor{},
		"monitoring.coreos.com/v1/PodMonitor":           &monitor{},
		"kustomize.config.k8s.io/v1beta1/Kustomization": &kustomization{},
	}
	object := types[m.APIVersion+"/"+m.Kind]
	require.NotNil(t, object, "no type for %s %s", m.APIVersion, m.Kind)
	return object
}

// objects decodes a file: unknown and doubled fields are errors.
func objects(t *testing.T, name string) (all []any) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(base, name))
	require.NoError(t, err)
	documents := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(body)))
	for {
		document := make([]byte, len(body)+1)
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		var kind metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal(document[:n], &kind))
		object := newObject(t, kind)
		require.NoError(t, yaml.UnmarshalStrict(document[:n], object), "%s: %s", name, kind.Kind)
		all = append(all, object)
	}
}

func resources(t *testing.T) (k *kustomization, all []any) {
	t.Helper()
	k = objects(t, "kustomization.yaml")[0].(*kustomization) //nolint:forcetypeassert // newObject made it
	for _, name := range k.Resources {
		all = append(all, objects(t, name)...)
	}
	return k, all
}

func TestKubernetes_BaseDecodesStrictlyAndIsComplete(t *testing.T) {
	k, all := resources(t)
	require.NotEmpty(t, all)
	files, err := filepath.Glob(base + "/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		name := filepath.Base(file)
		require.True(t, name == "kustomization.yaml" || slices.Contains(k.Resources, name), "%s is in no kustomization", name)
	}
	for _, generator := range k.ConfigMapGenerator {
		for _, file := range generator.Files {
			require.FileExists(t, filepath.Join(base, file))
		}
	}
}

// workload is what Deployments and StatefulSets have in common.
type workload struct {
	name     string
	pod      corev1.PodTemplateSpec
	selector *metav1.LabelSelector
}

func workloads(all []any) (found []workload) {
	for _, object := range all {
		switch o := object.(type) {
		case *appsv1.Deployment:
			found = append(found, workload{o.Name, o.Spec.Template, o.Spec.Selector})
		case *appsv1.StatefulSet:
			found = append(found, workload{o.Name, o.Spec.Template, o.Spec.Selector})
		}
	}
	return found
}

func TestKubernetes_EachWorkloadIsGuarded(t *testing.T) {
	_, all := resources(t)
	budgets := map[string]bool{}
	for _, object := range all {
		if b, ok := object.(*policyv1.PodDisruptionBudget); ok {
			budgets[b.Spec.Selector.MatchLabels["app.kubernetes.io/name"]] = true
		}
	}
	require.Len(t, workloads(all), 7)
	for _, w := range workloads(all) {
		require.Equal(t, w.selector.MatchLabels["app.kubernetes.io/name"], w.pod.Labels["app.kubernetes.io/name"], w.name)
		require.True(t, budgets[w.name], "%s has no disruption budget", w.name)
		require.True(t, *w.pod.Spec.SecurityContext.RunAsNonRoot, w.name)
		for _, c := range w.pod.Spec.Containers {
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, w.name)
			require.NotNil(t, c.ReadinessProbe, w.name)
			require.Contains(t, c.Resources.Limits, corev1.ResourceMemory, w.name)
			require.False(t, strings.HasSuffix(c.Image, ":latest"), w.name)
		}
	}
}

func TestKubernetes_GoIsToldOfItsMemory(t *testing.T) {
	_, all := resources(t)
	for _, w := range workloads(all) {
		for _, c := range w.pod.Spec.Containers {
			if w.name == "edge" {
				continue
			}
			told := slices.IndexFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == "GOMEMLIMIT" })
			require.GreaterOrEqual(t, told, 0, "%s has no GOMEMLIMIT", c.Name)
			requireMemoryLimit(t, c.Name, c.Env[told].Value, c.Resources.Limits.Memory().Value())
		}
	}
}

// A pod must be allowed as long to stop as its program may take at most.
func TestKubernetes_PodsMayDrain(t *testing.T) {
	const longestStop = 60 // service.StopTimeout, in seconds
	_, all := resources(t)
	for _, w := range workloads(all) {
		if w.name != "edge" {
			require.Greater(t, *w.pod.Spec.TerminationGracePeriodSeconds, int64(longestStop), w.name)
		}
	}
}
