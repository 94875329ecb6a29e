"""DICOMweb (PS3.18): the images' only door for viewers. Every study is checked against the launch session."""
