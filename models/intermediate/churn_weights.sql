{%- set found = perennial.relation_as_found('churn_weights')
    if execute and not perennial.runs_python() -%}
{%- set nothing = "(select '' as feature, 0.0 as fill_value, 0.0 as weight,"
    ~ ' 0.0 as weight_if_missing where false)' -%}
with terms as (
    {%- if perennial.runs_python() %}
    select unnest(weights) as term
    from {{ ref('py_churn_models') }}
    {%- else %}
    -- Learned where Python runs, and brought here like raw data.
    select struct(feature, fill_value, weight, weight_if_missing) as term
    from {{ found or nothing }}
    {%- endif %}
)

select
    cast(term.feature as string) as feature,
    cast(term.fill_value as double) as fill_value,
    cast(term.weight as double) as weight,
    cast(term.weight_if_missing as double) as weight_if_missing
from terms
