package v1alpha1

// AnnotationVersion of a Service has the tag and the commit of the daemon that runs, with a blank between.
const AnnotationVersion = "version"
