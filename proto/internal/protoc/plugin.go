package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const compiler = "github.com/bufbuild/protocompile"

// compilerVersion is what generated files say they come from: the compiler's version in go.mod.
func compilerVersion() *pluginpb.Version {
	version := &pluginpb.Version{Major: new(int32), Minor: new(int32), Patch: new(int32), Suffix: proto.String("protocompile")}
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == compiler {
			// What cannot be read stays 0.
			_, _ = fmt.Sscanf(module.Version, "v%d.%d.%d", version.Major, version.Minor, version.Patch)
		}
	}

	return version
}

// generate runs one plugin over all and writes its files below o.out.
func generate(ctx context.Context, program string, o options, all []*descriptorpb.FileDescriptorProto) error {
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate:  o.files,
		Parameter:       &o.param,
		ProtoFile:       all,
		CompilerVersion: compilerVersion(),
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stderr = os.Stderr
	raw, err := cmd.Output()
	if err != nil {
		return err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(raw, response); err != nil {
		return fmt.Errorf("read its answer: %w", err)
	}
	if response.Error != nil {
		return errors.New(response.GetError())
	}
	for _, file := range response.GetFile() {
		if err := write(filepath.Join(o.out, file.GetName()), []byte(file.GetContent())); err != nil {
			return err
		}
	}

	return nil
}

func writeSet(path string, all []*descriptorpb.FileDescriptorProto) error {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(withoutSource(all))
	if err != nil {
		return err
	}

	return write(path, raw)
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}

	return os.WriteFile(path, content, 0o644)
}
