# tfopt and its demo, which the build runs: docker build -t tfopt .
FROM python:3.13-slim

WORKDIR /tfopt
COPY . .
RUN pip install .

# The results stay in the image, as an example: /demo/saved_models/digits/report.html.
WORKDIR /demo
RUN tfopt demo

WORKDIR /work
ENTRYPOINT ["tfopt"]
CMD ["--help"]
