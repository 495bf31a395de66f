// Package config reads machine configurations: YAML streams of one v1alpha1 document and any number of named documents.
//
// [Load] is strict and reports every problem at once, each with its document, path, line and a hint. [Config.Validate]
// then judges the values. Daemons link this package, so what only some need lives beside it: patch, generate, redact,
// diff, clientconfig and pki.
package config
