# An image for hosts with CPUs, GPUs or TPUs:
#   docker build --build-arg HOST=gpu --tag robustjax:gpu .
#   docker run --rm --gpus all --volume "$PWD:/work" --user "$(id -u):$(id -g)" \
#     robustjax:gpu train mbn_alp:mini
# docs/install.md says more.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG HOST=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN case "$HOST" in cpu|gpu|tpu) ;; *) \
    echo "error: HOST=$HOST is none of cpu, gpu, tpu" >&2; exit 2 ;; esac \
  && python3 -m venv /opt/robustjax
ENV PATH=/opt/robustjax/bin:$PATH
COPY requirements-build.lock requirements.lock requirements-image.lock setup.cfg ./
# Of the lock, which has the tests' packages too, what setup.cfg asks for; a package that
# is not in it, or whose hash is another, is refused, which older pips cannot do.
RUN sed -n '/^pip==/,/[^\\]$/p' requirements-image.lock >pip.txt \
  && pip install --require-hashes -r pip.txt \
  && pip install --require-hashes -r requirements-build.lock \
  && python3 -c "import configparser; c = configparser.ConfigParser(); \
c.read('setup.cfg'); print(c['options']['install_requires'], \
c['options.extras_require'].get('$HOST', ''))" >wanted.txt \
  && pip install --require-hashes --no-build-isolation \
    -c requirements.lock -c requirements-image.lock -r wanted.txt
COPY . .
RUN pip install --no-deps --no-build-isolation . \
  && pip uninstall --yes setuptools pip

FROM python:${PYTHON}-slim
# The home folder is for any user: docker run --user "$(id -u):$(id -g)".
RUN useradd --uid 1000 robustjax \
  && install -d -m 1777 /home/robustjax /work
COPY --from=build /opt/robustjax /opt/robustjax
ENV PATH=/opt/robustjax/bin:$PATH HOME=/home/robustjax
USER 1000
WORKDIR /work
ENTRYPOINT ["robustjax"]
CMD ["--help"]
