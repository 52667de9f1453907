{%- set terms = perennial.relation_as_found('churn_weights')
    if execute and not perennial.runs_python() -%}
with terms as (
    {%- if perennial.runs_python() %}
    select unnest(weights) as term
    from {{ ref('py_churn_models') }}
    {%- elif terms %}
    -- Learned where Python runs, and brought here like raw data.
    select struct(feature, fill_value, weight, weight_if_missing) as term
    from {{ terms }}
    {%- else %}
    select
        cast(null as struct<feature: string, fill_value: double, weight: double,
            weight_if_missing: double>) as term
    where false
    {%- endif %}
)

select
    cast(term.feature as string) as feature,
    cast(term.fill_value as double) as fill_value,
    cast(term.weight as double) as weight,
    cast(term.weight_if_missing as double) as weight_if_missing
from terms
