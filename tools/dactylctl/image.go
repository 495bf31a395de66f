package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/tools/internal/images"
)

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", Short: "List, copy and serve container images",
		Example: `  dactylctl image default
  dactylctl image list --layout _out/images
  dactylctl image copy oci:_out/images docker://127.0.0.1:6000
  dactylctl image serve --layout _out/images --address 10.5.0.1:6000`,
	}
	cmd.AddCommand(a.imageCopyCommand(), a.imageDefaultCommand(), a.imageListCommand(), a.imageServeCommand())

	return cmd
}

func (a *app) imageDefaultCommand() *cobra.Command {
	return &cobra.Command{
		Use: "default", Short: "Name the images that a cluster with default settings needs", Args: cobra.NoArgs,
		Example: "  for image in $(dactylctl image default); do docker pull $image; done",
		RunE: func(*cobra.Command, []string) error {
			for _, image := range generate.Images() {
				fmt.Fprintln(a.out, image)
			}

			return nil
		},
	}
}

func (a *app) imageListCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "list --layout DIR", Aliases: []string{"ls"}, Short: "List the images of an OCI layout", Args: cobra.NoArgs,
		Example: "  dactylctl image list --layout _out/images",
		RunE: func(*cobra.Command, []string) error {
			list, err := images.Layout{Dir: dir}.List()
			if err != nil {
				return err
			}
			t := newTable(a.out, "IMAGE", "DIGEST", "SIZE", "PLATFORMS")
			for _, image := range list {
				t.row(image.Name, image.Digest, humanBytes(uint64(image.Size)), strings.Join(image.Platforms, ","))
			}

			return t.flush()
		},
	}
	cmd.Flags().StringVar(&dir, "layout", "", "directory of the OCI layout")
	_ = cmd.MarkFlagRequired("layout") // the only error is a flag that does not exist

	return cmd
}

func (a *app) imageCopyCommand() *cobra.Command {
	var (
		access       images.Access
		passwordFile string
	)
	cmd := &cobra.Command{
		Use:   "copy SRC DST [IMAGE...]",
		Short: "Copy images between OCI layouts and registries",
		Long: `Copy images, by their names or all of a layout. A place is one of
  oci:DIR                  an OCI layout, which is made when it is not there
  docker://HOST            a registry, in the place of the one in each image's name
  docker://HOST/NAME:TAG   one image
A user name and a password are for DST when it is a registry, else for SRC; a registry without them takes those of docker's
config.json. Registries at private addresses may speak plain HTTP, but get no password then (see --plain-http).`,
		Args: cobra.MinimumNArgs(2),
		Example: `  dactylctl image copy oci:_out/images docker://127.0.0.1:6000
  dactylctl image copy oci:_out/images docker://registry.example.org --ca ca.crt --username admin --password-file secret
  dactylctl image copy docker://127.0.0.1:6000 oci:images registry.k8s.io/pause:3.10.2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if access.Password, err = password(access.Username, passwordFile); err != nil {
				return err
			}

			return images.Copy(cmd.Context(), args[0], args[1], args[2:], access, func(from, to string) {
				fmt.Fprintf(a.err, "%s -> %s\n", from, to)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&access.CA, "ca", "", "file with the authorities (PEM) to trust beside the system's")
	flags.StringVar(&access.Username, "username", "", "user name for the registry")
	flags.StringVar(&passwordFile, "password-file", "", "file with the password (- for the standard input)")
	flags.BoolVar(&access.PlainHTTP, "plain-http", false, "speak HTTP without TLS, also to public addresses and with a password")

	return cmd
}

// password reads the first line of a file: other users of a machine can read what stands on a command line.
func password(username, file string) (string, error) {
	if (username == "") != (file == "") {
		return "", errors.New("--username and --password-file belong together")
	}
	if file == "" {
		return "", nil
	}
	if file == "-" {
		file = "/dev/stdin"
	}
	data, err := os.ReadFile(file)
	line, _, _ := strings.Cut(string(data), "\n")

	return strings.TrimSuffix(line, "\r"), err
}

type serveFlags struct {
	layout, address, cert, key       string
	username, passwordFile, htpasswd string
}

func (a *app) imageServeCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve --layout DIR",
		Short: "Serve an OCI layout as a registry, read-only",
		Long: `Serve an OCI layout as a registry that nothing can be pushed to, until it is interrupted. It is a mirror for every registry whose
images it has: an image is found by its name with its registry and without. Requests are printed.`,
		Args: cobra.NoArgs,
		Example: `  dactylctl image serve --layout _out/images --address 10.5.0.1:6000
  dactylctl image serve --layout _out/images --tls-cert registry.crt --tls-key registry.key --htpasswd users`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()

			return a.serveImages(ctx, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.layout, "layout", "", "directory of the OCI layout")
	flags.StringVar(&f.address, "address", "127.0.0.1:6000", "address to listen on")
	flags.StringVar(&f.cert, "tls-cert", "", "file with the certificate (PEM) to serve TLS with")
	flags.StringVar(&f.key, "tls-key", "", "file with the certificate's key")
	flags.StringVar(&f.username, "username", "", "user name to ask for")
	flags.StringVar(&f.passwordFile, "password-file", "", "file with the password to ask for (- for the standard input)")
	flags.StringVar(&f.htpasswd, "htpasswd", "", "file with the users to ask for, as htpasswd -B writes it")
	cmd.MarkFlagsMutuallyExclusive("htpasswd", "username")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	_ = cmd.MarkFlagRequired("layout") // the only error is a flag that does not exist

	return cmd
}

func (f serveFlags) handler() (http.Handler, error) {
	layout := images.Layout{Dir: f.layout}
	if _, err := layout.List(); err != nil {
		return nil, err
	}
	handler := images.Handler(layout)
	secret, err := password(f.username, f.passwordFile)
	if err != nil {
		return nil, err
	}
	if f.username != "" {
		return images.Protect(handler, images.OneUser(f.username, secret)), nil
	}
	if f.htpasswd == "" {
		return handler, nil
	}
	users, err := images.ReadHtpasswd(f.htpasswd)

	return images.Protect(handler, users), err
}

// serveLimit is how long pulls that are under way at the end may take.
const serveLimit = 3 * time.Second

func (a *app) serveImages(ctx context.Context, f serveFlags) error {
	handler, err := f.handler()
	if err != nil {
		return err
	}
	var settings *tls.Config
	scheme := "http"
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return fmt.Errorf("read the certificate and its key: %w", err)
		}
		settings, scheme = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, "https"
	}
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "serving %s at %s://%s\n", f.layout, scheme, listener.Addr())
	if settings != nil {
		listener = tls.NewListener(listener, settings)
	}
	server := &http.Server{Handler: images.Logged(handler, a.out), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(a.out, "", 0)}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), serveLimit)
		defer cancel()
		stopped <- server.Shutdown(bounded)
	})
	if err = server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}

	return <-stopped
}
