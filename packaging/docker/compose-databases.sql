-- One database for each store; the control plane's is made by the image.
CREATE DATABASE shared;
CREATE DATABASE dedicated;
