{%- set found = perennial.relation_as_found('churn_weights')
    if execute and not perennial.runs_python() -%}
{%- set nothing = "(select '' as model_name, 0 as horizon_days, '' as feature,"
    ~ ' 0.0 as fill_value, 0.0 as weight, 0.0 as weight_if_missing where false)' -%}
with
{%- if perennial.runs_python() %}
-- Of each horizon one model that is a sum: the champion if it is one.
sums as (
    select
        model_name,
        horizon_days,
        weights,
        row_number() over (
            partition by horizon_days
            order by
                is_champion desc nulls last,
                model_name = 'logistic_regression' desc nulls last,
                model_name nulls last
        ) as place
    from {{ ref('py_churn_models') }}
    where model_name in ('logistic_regression', 'linear_svm')
),

terms as (
    select
        model_name,
        horizon_days,
        term.feature as feature,
        term.fill_value as fill_value,
        term.weight as weight,
        term.weight_if_missing as weight_if_missing
    from (
        select
            model_name,
            horizon_days,
            unnest(weights) as term
        from sums
        where place = 1
    ) as unnested
)
{%- else %}
-- Learned where Python runs, and brought here like raw data.
terms as (
    select *
    from {{ found or nothing }}
)
{%- endif %}

select
    cast(model_name as string) as model_name,
    cast(horizon_days as integer) as horizon_days,
    cast(feature as string) as feature,
    cast(fill_value as double) as fill_value,
    cast(weight as double) as weight,
    cast(weight_if_missing as double) as weight_if_missing
from terms
