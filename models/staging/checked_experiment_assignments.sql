{{ perennial.checked('experiment_assignments') }}
