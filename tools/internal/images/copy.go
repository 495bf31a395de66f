package images

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var emptyIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)

// content is a v1.Image or a v1.ImageIndex.
type content = remote.Taggable

// Access says how a registry is spoken to.
type Access struct {
	// Username and Password; without them the credentials of docker's and podman's configuration files.
	Username, Password string
	// CA is a file with the authorities (PEM) that are trusted beside the system's.
	CA string
	// PlainHTTP allows passwords and registries with a CA without TLS, and public addresses without it.
	PlainHTTP bool
}

// place is what images are copied from or to.
type place interface {
	get(ctx context.Context, image string) (content, error)
	put(ctx context.Context, image string, c content) error
	names() ([]string, error)
	// where names an image there, for people.
	where(image string) string
}

// Copy copies the named images, or all of the source when none is named, and calls done before each. Places are oci:DIR,
// docker://HOST (an image's registry is replaced by the host) and docker://HOST/NAME:TAG (one image by that very name).
func Copy(ctx context.Context, from, to string, images []string, access Access, begun func(from, to string)) error {
	toRegistry := strings.HasPrefix(to, dockerPrefix)

	// Credentials are for one registry: another must not see them.
	other := access
	other.Username, other.Password = "", ""

	sourceAccess := access
	if toRegistry {
		sourceAccess = other
	}

	source, err := open(from, sourceAccess)
	if err != nil {
		return err
	}

	destination, err := open(to, access)
	if err != nil {
		return err
	}

	if len(images) == 0 {
		if images, err = source.names(); err != nil {
			return err
		}
	}

	for _, image := range images {
		begun(source.where(image), destination.where(image))

		c, err := source.get(ctx, image)
		if err != nil {
			return explain(fmt.Sprintf("get %s", source.where(image)), err)
		}

		if err = destination.put(ctx, image, c); err != nil {
			return explain(fmt.Sprintf("put %s", destination.where(image)), err)
		}
	}

	return nil
}

const (
	dockerPrefix = "docker://"
	layoutPrefix = "oci:"
)

func open(text string, access Access) (place, error) {
	if dir, ok := strings.CutPrefix(text, layoutPrefix); ok && dir != "" {
		return directory{Layout{Dir: dir}}, nil
	}

	rest, ok := strings.CutPrefix(text, dockerPrefix)
	if !ok || rest == "" {
		return nil, fmt.Errorf("%q is no place of images: write oci:DIR, docker://HOST or docker://HOST/NAME:TAG", text)
	}

	host, image, _ := strings.Cut(rest, "/")

	r := registry{host: host, access: access}
	if image != "" {
		r.exactly = rest
	}

	var err error
	r.transport, err = access.transport()

	return r, err
}

type directory struct{ Layout }

func (d directory) get(_ context.Context, image string) (content, error) { return d.Layout.get(image) }
func (d directory) put(_ context.Context, image string, c content) error {
	return d.Layout.put(image, c)
}
func (d directory) where(image string) string { return layoutPrefix + d.Dir + " " + image }

type registry struct {
	host string
	// exactly is the one image that is meant.
	exactly   string
	access    Access
	transport http.RoundTripper
}

func (r registry) names() ([]string, error) {
	if r.exactly == "" {
		return nil, fmt.Errorf("name the images to copy from %s: registries do not list what they have, dactylctl image default "+
			"names what a cluster needs", r.host)
	}

	return []string{r.exactly}, nil
}

// where replaces an image's registry by the host, as guide 02 does.
func (r registry) where(image string) string {
	if r.exactly != "" {
		return r.exactly
	}

	ref, err := name.ParseReference(image)
	if err != nil {
		return r.host + "/" + image
	}

	separator := ":"
	if _, ok := ref.(name.Digest); ok {
		separator = "@"
	}

	return r.host + "/" + ref.Context().RepositoryStr() + separator + ref.Identifier()
}

func (r registry) reference(image string) (name.Reference, error) {
	var options []name.Option
	if r.access.PlainHTTP {
		options = append(options, name.Insecure)
	}

	return name.ParseReference(r.where(image), options...)
}

func (r registry) options(ctx context.Context) []remote.Option {
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(r.transport)}
	if r.access.Username != "" {
		return append(options, remote.WithAuth(&authn.Basic{Username: r.access.Username, Password: r.access.Password}))
	}

	return append(options, remote.WithAuthFromKeychain(authn.DefaultKeychain))
}

func (r registry) get(ctx context.Context, image string) (content, error) {
	ref, err := r.reference(image)
	if err != nil {
		return nil, err
	}

	d, err := remote.Get(ref, r.options(ctx)...)
	if err != nil {
		return nil, err
	}

	if d.MediaType.IsIndex() {
		return d.ImageIndex()
	}

	return d.Image()
}

func (r registry) put(ctx context.Context, image string, c content) error {
	ref, err := r.reference(image)
	if err != nil {
		return err
	}

	return remote.Push(ref, c, r.options(ctx)...)
}

// transport never gives a password, nor what a CA was named for, to a connection without TLS: the library would fall back.
func (a Access) transport() (http.RoundTripper, error) {
	t, ok := remote.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the library's default transport has another type")
	}

	t = t.Clone()

	if a.CA != "" {
		pem, err := os.ReadFile(a.CA)
		if err != nil {
			return nil, err
		}

		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}

		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in PEM form", a.CA)
		}

		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}

	if a.PlainHTTP || a.CA == "" && a.Username == "" {
		return t, nil
	}

	return onlyTLS{t}, nil
}

type onlyTLS struct{ http.RoundTripper }

var errPlain = errors.New("not without TLS")

func (o onlyTLS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errPlain
	}

	return o.RoundTripper.RoundTrip(r)
}

// explain puts the next step behind what went wrong.
func explain(doing string, err error) error {
	var (
		refused   *transport.Error
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)

	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("%s: the registry's certificate is signed by an authority that is not trusted: name its file with --ca", doing)
	case errors.As(err, &host):
		return fmt.Errorf("%s: %w: reach the registry by a name that its certificate has", doing, host)
	case errors.As(err, &invalid):
		return fmt.Errorf("%s: %w", doing, invalid)
	case errors.As(err, &refused) && refused.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s: the registry does not accept the user name and password: give them with --username and --password-file, "+
			"or in docker's config.json", doing)
	case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: no such image in the registry", doing)
	case errors.As(err, &refused) && refused.StatusCode == http.StatusMethodNotAllowed:
		return fmt.Errorf("%s: the registry is read-only", doing)
	case errors.Is(err, errPlain):
		return fmt.Errorf("%s: the registry does not speak TLS, and neither passwords nor --ca are used without it: --plain-http allows it", doing)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
