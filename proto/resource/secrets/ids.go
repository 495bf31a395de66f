package secrets

import "github.com/cosi-project/runtime/pkg/resource"

// Identifiers of the resources that are one of a kind.
const (
	APIID                    = resource.ID("api")
	OSRootID                 = resource.ID("os")
	CertSANAPIID             = resource.ID("api")
	CertSANKubernetesID      = resource.ID("k8s")
	CertSANMaintenanceID     = resource.ID("maintenance")
	EtcdID                   = resource.ID("etcd")
	EtcdRootID               = resource.ID("etcd")
	KubeletID                = resource.ID("kubelet")
	KubernetesID             = resource.ID("k8s-certs")
	KubernetesDynamicCertsID = resource.ID("k8s-dynamic-certs")
	KubernetesRootID         = resource.ID("k8s")
	MaintenanceRootID        = resource.ID("root")
	MaintenanceServiceID     = resource.ID("maintenance")
	TrustdID                 = resource.ID("trustd")
)
