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
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
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
		"networking.k8s.io/v1/NetworkPolicy":            &networkingv1.NetworkPolicy{},
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

func TestKubernetes_LimitsFitTheMemory(t *testing.T) {
	_, all := resources(t)
	for _, w := range programs(all) {
		environment := map[string]string{}
		for _, v := range w.pod.Spec.Containers[0].Env {
			environment[v.Name] = v.Value
		}
		requireBudget(t, w.name, environment)
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

// settings is the configuration of a workload's program: the ConfigMap and the
// variables of its own, by the loader that programs have.
func (w workload) settings(t *testing.T, all []any) service.Config {
	t.Helper()
	var environ []string
	for _, object := range all {
		if m, ok := object.(*corev1.ConfigMap); ok {
			for name, value := range m.Data {
				environ = append(environ, name+"="+value)
			}
		}
	}
	for _, v := range w.pod.Spec.Containers[0].Env {
		if strings.HasPrefix(v.Name, "SAMSA_") && v.ValueFrom == nil {
			environ = append(environ, v.Name+"="+v.Value)
		}
	}
	c := service.Default()
	_, err := config.Load(config.Options{Sections: c.Sections(), Foreign: service.Foreign(), Environ: environ, DefaultFiles: []string{}})
	require.NoError(t, err, w.name)
	return c
}

func programs(all []any) []workload {
	return slices.DeleteFunc(workloads(all), func(w workload) bool { return w.name == "edge" })
}

// Keys or a region that come from nowhere would be used in place of the pods' role.
func TestKubernetes_AWSIsAskedWithTheRoleOfThePods(t *testing.T) {
	_, all := resources(t)
	for _, w := range programs(all) {
		s3 := w.settings(t, all).Storage.S3
		require.Empty(t, s3.Endpoint+s3.Region+s3.AccessKeyID+s3.SecretAccessKey, w.name)
		require.False(t, s3.PathStyle, w.name)
	}
	production := service.Default()
	_, err := config.Load(config.Options{Sections: production.Sections(), Foreign: service.Foreign(), File: root + "/deploy/config/production.toml"})
	require.NoError(t, err)
	require.Zero(t, production.Storage.S3)
}

func TestKubernetes_ProgramsKnowEachOtherByCertificatesOfTheirRoles(t *testing.T) {
	_, all := resources(t)
	for _, w := range programs(all) {
		tls := w.settings(t, all).TLS
		for _, file := range []string{tls.CertFile, tls.KeyFile, tls.CAFile} {
			require.Equal(t, "/etc/samsa/tls", filepath.Dir(file), w.name)
		}
		require.Equal(t, w.name == "router", tls.PublicCertFile != "", w.name)
		require.Equal(t, w.name+"-tls", w.secretAt(t, "/etc/samsa/tls").SecretName)
	}
	edge := workloads(all)[slices.IndexFunc(workloads(all), func(w workload) bool { return w.name == "edge" })]
	require.Equal(t, []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.pem"}}, edge.secretAt(t, "/etc/samsa/tls").Items, "the edge has no use for the router's key")
	edge.secretAt(t, "/certs")
}

// secretAt is the secret that is mounted there, without which the pod does not start.
func (w workload) secretAt(t *testing.T, path string) *corev1.SecretVolumeSource {
	t.Helper()
	for _, mount := range w.pod.Spec.Containers[0].VolumeMounts {
		for _, volume := range w.pod.Spec.Volumes {
			if mount.MountPath == path && mount.Name == volume.Name {
				require.NotNil(t, volume.Secret, w.name)
				require.Nil(t, volume.Secret.Optional, "%s would start without %s", w.name, path)
				return volume.Secret
			}
		}
	}
	require.Fail(t, "nothing is mounted", "%s at %s", w.name, path)
	return nil
}

func TestKubernetes_ClientsComeInByTLSAlone(t *testing.T) {
	_, all := resources(t)
	open := []int32{}
	for _, object := range all {
		switch o := object.(type) {
		case *corev1.Service:
			if o.Spec.Type == corev1.ServiceTypeLoadBalancer {
				require.Len(t, o.Spec.Ports, 1)
				require.Equal(t, int32(443), o.Spec.Ports[0].Port)
			}
		case *networkingv1.NetworkPolicy:
			for _, rule := range o.Spec.Ingress {
				if len(rule.From) == 0 {
					require.Equal(t, map[string]string{"app.kubernetes.io/name": "edge"}, o.Spec.PodSelector.MatchLabels)
					open = append(open, rule.Ports[0].Port.IntVal)
				}
			}
		}
	}
	require.Equal(t, []int32{8443}, open, "ports that everybody may connect to")
}
